"""Fully connected layers that are called one by one, on few spikes."""

import copy

import pytest
import torch
from torch import nn

from synrl_ray.snn import AdaptiveLIF, SpikingMLP, Synaptic, listed
from synrl_ray.snn.listed import called


@pytest.fixture
def lists(monkeypatch):
    """The lists that were made."""
    made = []
    few = listed.lists_if_few

    def counted(*given):
        found = few(*given)
        made.append(found)
        return found

    monkeypatch.setattr(listed, "lists_if_few", counted)
    return made


def spikes(*shape, rate=0.05):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < rate).double()


def gradients(run, signal, layer):
    signal = signal.clone().requires_grad_()
    output = run(layer, signal)
    return [output, *torch.autograd.grad(output.sin().sum(), [signal, *layer.parameters()])]


def test_few_ones_and_zeros_give_what_the_layer_gives(lists):
    layer = nn.Linear(200, 32).double()
    given = spikes(3, 4, 200)
    for a, b in zip(gradients(called, given, layer), gradients(lambda of, x: of(x), given, layer), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert lists[0].activity == given.mean()


@pytest.mark.parametrize(
    "signal",
    [spikes(5, 200, rate=0.6), 2 * spikes(5, 200), spikes(5, 200) - 0.5, torch.full((5, 200), torch.nan).double()],
    ids=["many", "twos", "currents", "nan"],
)
def test_what_is_no_few_spikes_goes_to_the_layer(signal, lists):
    layer = nn.Linear(200, 32).double()
    assert torch.equal(called(layer, signal).nan_to_num(7), layer(signal).nan_to_num(7))
    assert lists == [None]


@pytest.mark.parametrize("size", [(100, 32), (200, 30)])
def test_a_layer_without_kernels_is_called(size, lists):
    called(nn.Linear(*size).double(), spikes(5, size[0]))
    assert not lists


def test_a_hook_of_the_layer_is_called(lists):
    layer, seen = nn.Linear(200, 32).double(), []
    layer.register_forward_hook(lambda *_: seen.append(1))
    called(layer, spikes(5, 200))
    assert seen == [1]
    assert not lists


def test_second_derivatives_are_those_of_the_layer():
    layer = nn.Linear(200, 32).double()
    given = spikes(5, 200)

    def second(run):
        signal = given.clone().requires_grad_()
        first = torch.autograd.grad(run(layer, signal).sin().sum(), [signal, layer.weight], create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), [signal, *layer.parameters()])

    for a, b in zip(second(called), second(lambda of, x: of(x)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "settings",
    [
        {"neuron": lambda: Synaptic(threshold=3.0)},
        {"neuron": lambda: AdaptiveLIF(threshold=2.0)},
        {"recurrent": "all_to_all", "threshold": 2.0},
        {"skip": True, "threshold": 2.0},
        {"norm": "layer", "threshold": 2.0},
        {"readout": "max", "threshold": 2.0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_networks_of_other_parts_compute_the_same(settings, lists):
    torch.manual_seed(0)
    net = SpikingMLP(6, (144, 144, 144), 3, steps_per_observation=4, gain=3.0, hidden_gain=2.0, **settings).double()
    twin = copy.deepcopy(net)
    twin.kernel = "numba"
    given = torch.randn(2, 5, 6).double()
    results = []
    for each in (net, twin):
        outputs, state = each(given)
        loss = outputs.sin().sum() + state.cos().sum()
        results.append([outputs, state, *torch.autograd.grad(loss, list(each.parameters()))])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert any(lists)


def test_latencies_are_traced_and_transformed_as_dense_spikes():
    net = SpikingMLP(200, (16,), 2, latency=(0.0, 1.0)).double()
    given = torch.rand(3, 1, 4, 200).double()
    found = torch.func.vmap(lambda x: net(x)[0])(given)
    torch.testing.assert_close(found, torch.stack([net(x)[0] for x in given]))
