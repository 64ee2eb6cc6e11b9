"""Operation counts against loops written out by hand."""

import pytest
import torch
from torch import nn

from synrl_ray.snn import CNN, MLP, SpikingCNN, SpikingMLP, energy


def by_hand_linear(linear, signal):
    rows = signal.flatten(0, -2)
    return sum(
        int(row[i] != 0) * int(linear.weight[o, i] != 0)
        for row in rows
        for i in range(linear.in_features)
        for o in range(linear.out_features)
    )


def test_linear_counts_only_what_is_not_zero():
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight[0, 1] = 0
    signal = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.5]])
    # row 1: inputs 0 (2 weights) and 1 (1 weight); row 2: inputs 1 (1 weight) and 2 (2 weights)
    assert energy.effective_operations(linear, signal) == 6
    assert energy.dense_operations(linear, signal) == 12
    assert by_hand_linear(linear, signal) == 6


def test_convolution_counts_every_position_it_visits():
    """A single active pixel in the middle is met by each of the 3 x 3 kernel's weights once per output channel."""
    convolution, image = nn.Conv2d(1, 4, 3), torch.zeros(2, 1, 5, 5)
    image[0, 0, 2, 2] = 0.3
    assert energy.effective_operations(convolution, image) == 9 * 4
    image[1, 0, 0, 0] = 1.0  # a corner pixel is seen from one position only
    assert energy.effective_operations(convolution, image) == 9 * 4 + 4
    assert energy.dense_operations(convolution, image) == 2 * 9 * 9 * 4


def test_spiking_network():
    torch.manual_seed(0)
    net = SpikingMLP(5, (12, 9), 2, steps_per_observation=4, gain=5.0)
    inputs = torch.randn(3, 2, 5)
    report = energy.count_energy(net, inputs)
    _, _, (first, second) = net.forward_with_spikes(inputs)
    assert report.effective_macs == 5 * 12
    acs = (first.sum() * 9 + second.sum() * 2).item() / 6
    assert report.effective_acs == pytest.approx(acs)
    assert report.spikes_per_layer == pytest.approx((first.sum().item() / 6, second.sum().item() / 6))
    assert report.activation_sparsity == pytest.approx(1 - ((first.sum() + second.sum()) / (6 * 4 * 21)).item())
    assert report.membrane_updates == 4 * (12 + 9 + 2)
    assert report.dense_operations == 5 * 12 + 4 * (12 * 9 + 9 * 2)
    assert report.parameters == 5 * 12 + 12 + 12 * 9 + 9 + 9 * 2 + 2
    assert report.energy_pj == pytest.approx(60 * 4.6 + acs * 0.9)
    assert report.membrane_energy_pj == pytest.approx(92 * 4.6)


def test_skip_connections_pay_for_each_spike():
    torch.manual_seed(0)
    net = SpikingMLP(5, (9, 9, 7), 2, steps_per_observation=4, gain=8.0, threshold=0.3, skip=True)
    inputs = torch.randn(3, 2, 5)
    report = energy.count_energy(net, inputs)
    first, second, third = (layer.sum().item() / 6 for layer in net.forward_with_spikes(inputs)[2])
    assert second > 0
    assert report.spikes_per_layer == pytest.approx((first, second, third))
    assert report.effective_acs == pytest.approx(first * 9 + (first + second) * 7 + third * 2)
    assert report.dense_operations == 5 * 9 + 4 * (9 * 9 + 9 * 7 + 7 * 2)
    assert report.membrane_updates == 4 * (9 + 9 + 7 + 2)


def test_the_twin_pays_macs_only():
    report = energy.count_energy(MLP(5, (12, 9), 2), torch.randn(3, 2, 5))
    assert report.effective_macs == 5 * 12 + 12 * 9 + 9 * 2
    assert report.effective_acs == report.membrane_updates == 0
    assert report.spikes_per_layer == (0.0, 0.0) or report.spikes_per_layer == ()


def test_constants_scale_the_estimate():
    net, inputs = MLP(2, (3,), 1), torch.ones(1, 1, 2)
    assert energy.count_energy(net, inputs, constants=energy.EnergyConstants(1.0, 0.0)).energy_pj == 9
    with pytest.raises(ValueError, match="must not be negative"):
        energy.EnergyConstants(-1.0)


def test_convolutional_networks():
    torch.manual_seed(0)
    shape = {"shape": ((4, 4, 2), (6, 3, 1)), "hidden_size": 10}
    inputs = torch.rand(2, 3, 1, 12, 12) + 0.1
    report = energy.count_energy(SpikingCNN((1, 12, 12), 2, steps_per_observation=3, gain=4.0, **shape), inputs)
    assert report.effective_macs == 5 * 5 * 16 * 4
    assert report.dense_operations == 5 * 5 * 16 * 4 + 3 * (3 * 3 * 9 * 4 * 6 + 54 * 10 + 10 * 2)
    assert report.membrane_updates == 3 * (100 + 54 + 10 + 2)
    assert len(report.spikes_per_layer) == 3
    assert report.spikes_per_layer[0] > 0
    twin = energy.count_energy(CNN((1, 12, 12), 2, **shape), inputs)
    assert twin.dense_operations == 5 * 5 * 16 * 4 + 3 * 3 * 9 * 4 * 6 + 54 * 10 + 10 * 2
    assert 0 < twin.activation_sparsity < 1  # rectifiers are sparse as well
    assert twin.effective_macs < twin.dense_operations
    assert "energy (pJ)" in energy.compare(report, twin)


def test_bad_input():
    net = MLP(2, (3,), 1)
    with pytest.raises(ValueError, match="input must be finite"):
        energy.count_energy(net, torch.full((1, 1, 2), float("nan")))
    with pytest.raises(ValueError, match=r"inputs must be \[E, B, 2\], got \(1, 1, 3\)"):
        energy.count_energy(net, torch.ones(1, 1, 3))
    with pytest.raises(TypeError, match="cannot count the operations of Bilinear"):
        energy.effective_operations(nn.Bilinear(1, 1, 1), torch.ones(1, 1))
