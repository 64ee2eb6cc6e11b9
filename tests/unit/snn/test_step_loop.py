"""Neurons of snntorch, and our own other neurons, inside a network."""

import pytest
import snntorch
import torch

from synrl_ray.snn import AdaptiveLIF, SpikingMLP, Synaptic
from synrl_ray.snn.step_loop import SnnTorchLayer

NEURONS = {
    "leaky": lambda: SnnTorchLayer(snntorch.Leaky(beta=0.9)),
    "synaptic": lambda: SnnTorchLayer(snntorch.Synaptic(alpha=0.8, beta=0.9)),
    "alpha": lambda: SnnTorchLayer(snntorch.Alpha(alpha=0.9, beta=0.8)),
    "lapicque": lambda: SnnTorchLayer(snntorch.Lapicque(beta=0.9)),
    "recurrent": lambda: SnnTorchLayer(snntorch.RLeaky(beta=0.9, all_to_all=False, V=0.5)),
    "our synaptic": lambda: Synaptic(0.8, 0.9),
    "our adaptive": lambda: AdaptiveLIF(0.9),
}


@pytest.mark.parametrize("name", NEURONS)
def test_in_a_network(name):
    """A split run carries its state, a mask starts from rest, gradients arrive."""
    torch.manual_seed(0)
    net = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, gain=4.0, neuron=NEURONS[name])
    inputs = torch.randn(4, 2, 3)
    whole, final = net(inputs)
    first, state = net(inputs[:2])
    second, state = net(inputs[2:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-5)
    mask = torch.zeros(4, 2, dtype=torch.bool)
    mask[1, 0] = True
    torch.testing.assert_close(net(inputs, None, mask)[0][1:, :1], net(inputs[1:, :1])[0], rtol=0, atol=1e-5)
    whole.square().sum().backward()
    assert net.linears[0].weight.grad.abs().sum() > 0
    assert state.shape == (2, net.state_size)


def test_leaky_through_the_loop_equals_the_fused_network():
    torch.manual_seed(0)
    fused = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, gain=4.0)
    loop = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, neuron=NEURONS["leaky"])
    loop.load_state_dict(fused.state_dict(), strict=False)
    inputs = torch.randn(2, 5, 3)
    assert fused.forward_with_spikes(inputs)[2][0].sum() > 0
    for a, b in zip(loop(inputs), fused(inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="init_hidden=True"):
        SnnTorchLayer(snntorch.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ValueError, match="Linear takes no state"):
        SnnTorchLayer(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"state must be \(2, 3\), got \(2, 4\)"):
        SnnTorchLayer(snntorch.Leaky(beta=0.9))(torch.zeros(1, 2, 3), torch.zeros(2, 4))
