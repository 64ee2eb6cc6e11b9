"""The LIF membrane below threshold, and the readout, against their closed forms."""

import pytest
import torch

from synrl_ray.snn import LIF, LeakyReadout


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_membrane_below_threshold(kernel):
    """u_t = beta^t u_0 + i (1 - beta^t) / (1 - beta) for constant current i, as a geometric series."""
    beta, i, u_0 = 0.8, 0.15, 0.3  # the fixed point i / (1 - beta) = 0.75 lies below the threshold 1
    neuron = LIF(beta, kernel=kernel).double()
    neuron.beta = torch.tensor(beta, dtype=torch.float64)
    t = torch.arange(1, 51, dtype=torch.float64)
    spikes, membranes = neuron.scan(
        torch.full((50, 1, 1), i, dtype=torch.float64), torch.full((1, 1), u_0, dtype=torch.float64)
    )
    expected = beta**t * u_0 + i * (1 - beta**t) / (1 - beta)
    assert spikes.sum() == 0
    torch.testing.assert_close(membranes.flatten(), expected, rtol=0, atol=1e-12)


def test_firing_period_of_an_integrator():
    """Without leak and with current 1/4, the membrane crosses 1 first at step 5 and then every 4 steps."""
    spikes, _ = LIF(1.0)(torch.full((21, 1, 1), 0.25))
    assert spikes.flatten().nonzero().flatten().tolist() == [4, 8, 12, 16, 20]


def test_readout_is_the_stepwise_integrator():
    """The pooled readout equals u_k = beta u_{k-1} + W s_k + b, step by step."""
    torch.manual_seed(0)
    observations, k, batch, beta = 3, 5, 2, 0.9
    readout = LeakyReadout(6, 2, beta=beta, hold=k).double()
    spikes = (torch.rand(observations * k, batch, 6) < 0.3).double()
    membrane = start = torch.randn(batch, 2, dtype=torch.float64)
    expected = []
    for t, s_t in enumerate(spikes):
        membrane = beta * membrane + readout.linear(s_t)
        if t % k == k - 1:
            expected.append(membrane)
    torch.testing.assert_close(readout(spikes, start)[0], torch.stack(expected), rtol=0, atol=1e-6)
