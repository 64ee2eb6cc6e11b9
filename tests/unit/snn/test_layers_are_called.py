"""Networks with and without a fused path, and neurons made of neurons: torch's tools act on their layers."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from synrl_ray.snn import CNN, LIF, MLP, LeakyReadout, SpikingCNN, SpikingMLP, Synaptic


def spiking_cnn():
    return SpikingCNN((1, 8, 8), 2, shape=((2, 4, 2),), hidden_size=5, threshold=0.3, gain=2.0, hidden_gain=2.0)


def synaptic():
    return SpikingMLP(5, (7, 6), 2, neuron=lambda: Synaptic(threshold=0.5), gain=2.0, hidden_gain=2.0)


NETWORKS = {
    "MLP": (lambda: MLP(5, (7, 6), 2), (2, 3, 5)),
    "CNN": (lambda: CNN((1, 8, 8), 2, shape=((2, 4, 2),), hidden_size=5), (2, 3, 1, 8, 8)),
    "SpikingCNN": (spiking_cnn, (2, 3, 1, 8, 8)),
    "synaptic": (synaptic, (2, 3, 5)),
}


def made(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    return make(), torch.randn(shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_hooks_of_every_layer(name):
    """Each forward hook is called and changes the output."""
    net, inputs = made(name)
    before = net(inputs)[0]
    layers = [layer for layer in net.modules() if layer is not net and not isinstance(layer, nn.ModuleList)]
    assert len(layers) >= 3
    for layer in layers:
        handle = layer.register_forward_hook(
            lambda module, args, out: tuple(o - 0.5 for o in out) if isinstance(out, tuple) else out - 0.5
        )
        assert not torch.equal(net(inputs)[0], before), layer
        handle.remove()
    torch.testing.assert_close(net(inputs)[0], before)


@pytest.mark.parametrize("name", NETWORKS)
def test_hooks_that_change_nothing(name):
    """A network whose every layer is called computes what its shortcuts compute."""
    net, inputs = made(name)
    mask = torch.tensor([[False] * 3, [True, False, True]])
    before = net(inputs, None, mask)
    called = []
    for layer in net.modules():
        layer.register_forward_hook(lambda module, args, out: called.append(type(module)))
    for a, b in zip(net(inputs, None, mask), before, strict=True):
        torch.testing.assert_close(a, b)
    assert len(set(called)) == len({type(layer) for layer in net.modules()} - {nn.ModuleList})


def test_synaptic_neurons_whose_parts_are_watched():
    neuron, current = Synaptic(0.7, 0.8, threshold=0.3), torch.randn(4, 2, 5)
    mask = torch.rand(4, 2) < 0.5
    expected = neuron(current, torch.ones(2, 10), mask)
    for part in (neuron.current, neuron.membrane):
        part.register_forward_hook(lambda *_: None)
    for a, b in zip(neuron(current, torch.ones(2, 10), mask), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_second_update_of_pruned_layers():
    net, inputs = made("MLP")
    for layer in net.linears:
        prune.l1_unstructured(layer, "weight", 0.5)
    for _ in range(2):
        net(inputs)[0].sum().backward()
    assert net.linears[1].weight_orig.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_quantised_layers(name):
    net, inputs = made(name)
    quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    with torch.no_grad():
        assert quantised(inputs)[0].shape == net(inputs)[0].shape
        assert not torch.equal(quantised(inputs)[0], net(inputs)[0])


def test_a_readout_of_any_layer():
    """What is no linear map is called at every step, and its outputs are integrated."""
    spikes, membrane = (torch.rand(6, 2, 4) < 0.5).float(), torch.randn(2, 3)
    readout = LeakyReadout(4, 3, beta=0.8, hold=3)
    readout.linear = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh())
    u, expected = membrane, []
    for t, current in enumerate(readout.linear(spikes)):
        u = 0.8 * u + current
        if t % 3 == 2:
            expected.append(u)
    torch.testing.assert_close(readout(spikes, membrane)[0], torch.stack(expected))


def test_the_first_neurons_need_not_hold_their_input():
    """They may be replaced by any: the current is repeated for those that do not hold it themselves."""
    torch.manual_seed(0)
    net, inputs = SpikingMLP(5, (7, 6), 2, steps_per_observation=3, gain=3.0), torch.randn(2, 3, 5)
    expected = net(inputs)
    net.neurons[0] = LIF(0.9, hold=1)
    for a, b in zip(net(inputs), expected, strict=True):
        torch.testing.assert_close(a, b)
