"""Firing rates: the penalty's worked numbers and gradient, calibration, bad input."""

import pytest
import torch

from synrl_ray.snn import SpikingCNN, SpikingMLP
from synrl_ray.snn.rates import calibrate_rates, rate_penalty


def test_penalty_by_hand():
    """Rates 0, 0.25 and 1 with bounds 0.1 and 0.5: (0.01 + 0 + 0.25) / 3."""
    spikes = torch.zeros(4, 1, 3)
    spikes[0, 0, 1] = 1
    spikes[:, 0, 2] = 1
    assert rate_penalty([spikes], 0.1, 0.5).item() == pytest.approx(0.26 / 3)
    assert rate_penalty([spikes[..., :2], spikes[..., 2:]], 0.1, 0.5).item() == pytest.approx(0.26 / 3)


def test_descending_the_penalty_wakes_silent_neurons():
    torch.manual_seed(0)
    net, inputs = SpikingMLP(4, (16, 16), 2), torch.randn(1, 32, 4)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    before = net.forward_with_spikes(inputs)[2][1].mean()
    for _ in range(30):
        optimizer.zero_grad()
        rate_penalty(net.forward_with_spikes(inputs)[2], 0.1, 0.5).backward()
        optimizer.step()
    assert net.forward_with_spikes(inputs)[2][1].mean() > before + 0.02


@pytest.mark.parametrize("target", [0.05, 0.2])
def test_calibration_reaches_the_target(target):
    torch.manual_seed(0)
    net, inputs = SpikingMLP(4, (64, 64), 2, steps_per_observation=8), torch.randn(1, 128, 4)
    assert calibrate_rates(net, inputs, target) == pytest.approx((target, target), rel=0.1)


def test_calibration_of_convolutions():
    torch.manual_seed(0)
    net = SpikingCNN((1, 12, 12), 2, shape=((4, 4, 2), (6, 3, 1)), hidden_size=32)
    assert calibrate_rates(net, torch.rand(1, 16, 1, 12, 12), 0.15) == pytest.approx((0.15,) * 3, rel=0.15)


def test_bad_input():
    net = SpikingMLP(2, (3,), 1)
    with pytest.raises(ValueError, match=r"target rate must lie in \(0, 1\), got 1.5"):
        calibrate_rates(net, torch.zeros(1, 1, 2), 1.5)
    with pytest.raises(ValueError, match="input must be finite"):
        calibrate_rates(net, torch.full((1, 1, 2), float("inf")))
    with pytest.raises(ValueError, match="0 <= low <= high <= 1"):
        rate_penalty([torch.zeros(1, 1, 1)], 0.5, 0.1)
    with pytest.raises(ValueError, match="at least one layer"):
        rate_penalty([])
