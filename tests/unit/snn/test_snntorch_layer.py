"""snnTorch's neurons as layers: the step of the class, our state contract, and nothing left behind."""

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from typing import get_args

import pytest
import snntorch
import torch
from snntorch import surrogate as theirs

from synrl_ray.settings.policies import Neuron, SpikingPolicy
from synrl_ray.snn import LIF, SpikingMLP, Surrogate
from synrl_ray.snn.snntorch_layer import SnnTorchLayer, SnnTorchName

SETTINGS = {
    "Leaky": {"beta": 0.9, "learn_beta": True},
    "Synaptic": {"alpha": 0.8, "beta": 0.9, "learn_alpha": True, "learn_beta": True},
    "Alpha": {"alpha": 0.95, "beta": 0.7, "learn_beta": True},
    "Lapicque": {"beta": 0.6},
}
SURROGATES = ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]
every_class = pytest.mark.parametrize("name", SETTINGS)
resets = pytest.mark.parametrize("reset", ["subtract", "zero", "none"])


def made(name, reset="subtract", surrogate="atan"):
    settings = {**SETTINGS[name], "threshold": 0.4, "learn_threshold": True, "reset_mechanism": reset}
    return SnnTorchLayer(name, Surrogate(surrogate), **settings), settings


def drawn(states, steps=9, batch=3, neurons=5):
    torch.manual_seed(0)
    mask = torch.zeros(steps, batch, dtype=torch.bool)
    mask[0, 1], mask[4, 0], mask[7] = True, True, True
    return torch.randn(steps, batch, neurons) * 2, torch.randn(batch, states * neurons), mask


def test_a_setting_names_each_class_that_there_is_a_layer_of():
    names = [f"snntorch.{name}" for name in get_args(SnnTorchName)]
    assert [name for name in get_args(Neuron) if name.startswith("snntorch.")] == names
    assert set(SETTINGS) == set(get_args(SnnTorchName))


@resets
@every_class
def test_equals_the_class_called_by_hand(name, reset):
    """Spikes, state and every gradient; rows that start from rest get zeros by hand, too."""
    layer, settings = made(name, reset)
    neuron = getattr(snntorch, name)(spike_grad=theirs.atan(), **settings)
    current, state, mask = drawn(layer.states_per_neuron)
    results = []
    for parameters in (dict(layer.neuron.named_parameters()), dict(neuron.named_parameters())):
        i, before = current.clone().requires_grad_(), state.clone().requires_grad_()
        if not results:
            spikes, after = layer(i, before, mask)
        else:
            states, fired = before.chunk(layer.states_per_neuron, dim=1), []
            for t, i_t in enumerate(i):
                spike, *states = neuron(i_t, *(s * (~mask[t, :, None]).float() for s in states))
                fired.append(spike)
            spikes, after = torch.stack(fired), torch.cat(states, 1)
        gradients = torch.autograd.grad(spikes.sum() + after.square().sum(), (i, before, *parameters.values()))
        results.append((spikes, after, *gradients))
    assert 0.05 < results[0][0].mean() < 0.95
    for ours, by_hand in zip(*results, strict=True):
        torch.testing.assert_close(ours, by_hand, rtol=1e-5, atol=1e-6)


@resets
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_leaky_equals_our_lif(surrogate, reset):
    layer, _ = made("Leaky", reset, surrogate)
    lif = LIF(0.9, 0.4, learn_beta=True, learn_threshold=True, surrogate=Surrogate(surrogate), reset=reset)
    current, state, mask = drawn(1)
    results = []
    for neuron, parameters in ((layer, [layer.neuron.beta, layer.neuron.threshold]), (lif, [lif.beta, lif.threshold])):
        i, before = current.clone().requires_grad_(), state.clone().requires_grad_()
        spikes, after = neuron(i, before, mask)
        gradients = torch.autograd.grad(spikes.sum() + after.square().sum(), (i, before, *parameters))
        results.append((spikes, after, *gradients))
    assert 0.05 < results[0][0].mean() < 0.95
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_network_of_leaky_equals_the_fused_one():
    torch.manual_seed(0)
    fused = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, gain=4.0, hidden_gain=3.0)
    layers = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, neuron=lambda: SnnTorchLayer("Leaky", beta=0.9))
    layers.load_state_dict(fused.state_dict(), strict=False)
    inputs = torch.randn(4, 5, 3)
    assert min(spikes.sum() for spikes in fused.forward_with_spikes(inputs)[2]) > 0
    for a, b in zip(layers(inputs), fused(inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-5)


@every_class
def test_nothing_of_a_pass_stays_on_the_module(name):
    """So copies can be made in training, and no pass leaks into the next one."""
    layer, _ = made(name)
    current, state, _ = drawn(layer.states_per_neuron)
    kept = {key: tensor.clone() for key, tensor in layer.named_buffers()}
    first = layer(current.requires_grad_(), state)[0]
    assert {key: tensor.shape for key, tensor in layer.named_buffers()} == {k: t.shape for k, t in kept.items()}
    assert not any(isinstance(value, torch.Tensor) for value in vars(layer.neuron).values())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(current, state)[0], first)
    first.sum().backward()
    layer(current, state)[0].sum().backward()  # none of the first pass's graph is met again


@every_class
def test_snntorchs_list_of_all_neurons_does_not_keep_a_layer(name):
    before = list(snntorch.SpikingNeuron.instances)
    layer, _ = made(name)
    assert snntorch.SpikingNeuron.instances == before
    gone = weakref.ref(layer.neuron)
    del layer
    gc.collect()
    assert gone() is None


@every_class
def test_files_have_learned_parameters_only(name):
    layer, settings = made(name)
    learned = {key.removeprefix("learn_") for key, value in settings.items() if key.startswith("learn_") and value}
    assert set(layer.state_dict()) == {f"neuron.{parameter}" for parameter in learned}
    with torch.device("meta"):
        shape, _ = made(name)
    assert all(parameter.is_meta for parameter in shape.parameters())
    shape.load_state_dict(layer.state_dict(), assign=True)
    current, state, mask = drawn(layer.states_per_neuron)
    assert torch.equal(shape(current, state, mask)[0], layer(current, state, mask)[0])


def test_a_nan_before_an_episode_does_not_live_on():
    layer, _ = made("Leaky")
    _, after = layer(torch.ones(1, 1, 2), torch.full((1, 2), torch.nan), torch.tensor([[True]]))
    assert after.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SnnTorchLayer("SLSTM"), "no layer of snntorch's 'SLSTM': choose one of Leaky, Synaptic, Alpha, Lapic"),
        (lambda: SnnTorchLayer("__loader__"), "no layer of snntorch's"),
        (lambda: made("Leaky")[0](torch.zeros(2, 3)), r"current must be \[steps >= 1, batch, neurons\], got \(2, 3\)"),
        (lambda: made("Synaptic")[0](torch.zeros(1, 2, 3), torch.zeros(2, 3)), r"state must be \(2, 6\), got \(2, 3\)"),
        (
            lambda: made("Leaky")[0](torch.zeros(1, 2, 3), None, torch.zeros(1, 2)),
            r"reset_mask must be bool \(1, 2\), got torch.float32 \(1, 2\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_only_those_who_ask_for_it_import_snntorch():
    code = "import sys, synrl_ray.policies.actor_critic; assert 'snntorch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert SpikingPolicy(neuron="snntorch.Leaky").neuron == "snntorch.Leaky"
