"""Recurrent layers: kernels, gradients, resets, masks, carried state, networks, counts, bad input."""

import pytest
import torch
from torch.nn.utils import prune

from synrl_ray.snn import LIF, AdaptiveLIF, Recurrent, SpikingCNN, SpikingMLP, Surrogate, Synaptic
from synrl_ray.snn.energy import count_energy
from synrl_ray.snn.recurrent_parameters import Parameters, Settings
from synrl_ray.snn.recurrent_scan import recurrent_scan

NAMES = ("spikes", "u", "c", "current", "membrane", "synaptic", "alpha", "beta", "threshold", "weight")
RESETS = ["subtract", "zero", "none"]
KINDS = ["one_to_one", "all_to_all"]


def case(steps=6, batch=3, neurons=5, *, kind="all_to_all", per_neuron=False):
    g = torch.Generator().manual_seed(0)
    shape = (neurons,) if per_neuron else ()
    tensors = [torch.randn(s, generator=g).double() for s in ((steps, batch, neurons), *[(batch, neurons)] * 2)]
    tensors += [torch.rand(shape, generator=g).double() + add for add in (0, 0, 0.3)]
    tensors.append(torch.randn(*[neurons] * (1 if kind == "one_to_one" else 2), generator=g).double() / 2)
    return [tensor.requires_grad_() for tensor in tensors]


def run(tensors, mask, settings, kernel):
    current, membrane, synaptic, *parameters = tensors
    results = recurrent_scan(current, membrane, synaptic, Parameters(*parameters), settings, mask, kernel)
    loss = sum(
        (torch.sin(torch.arange(r.numel(), dtype=torch.float64) + i).view(r.shape) * r).sum()
        for i, r in enumerate(results)
    )
    return *results, *torch.autograd.grad(loss, tensors)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_automatic_differentiation(kernel, kind, reset, per_neuron, masked):
    """The functional path leaves the derivatives to autograd."""
    tensors = case(kind=kind, per_neuron=per_neuron)
    mask = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.3 if masked else None
    settings = Settings(Surrogate("atan"), reset)
    expected = run(tensors, mask, settings, "functional")
    assert 0.1 < expected[0].mean() < 0.9
    for name, a, b in zip(NAMES, run(tensors, mask, settings, kernel), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "sigmoid", "straight_through", "triangle", "box"])
def test_surrogates(surrogate):
    tensors, settings = case(), Settings(Surrogate(surrogate, 2.0), "subtract")
    for a, b in zip(run(tensors, None, settings, "numba"), run(tensors, None, settings, "functional"), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_a_larger_layer_in_single_precision(kernel):
    g = torch.Generator().manual_seed(0)
    cell = LIF(0.8, threshold=0.5, kernel=kernel)
    layer, reference = Recurrent(cell, 70, "all_to_all"), Recurrent(LIF(0.8, threshold=0.5), 70, "all_to_all").double()
    reference.load_state_dict(layer.state_dict())
    current = torch.randn(5, 9, 70, generator=g)
    spikes, state = layer(current)
    expected, final = reference(current.double())
    assert torch.equal(spikes.double(), expected)
    torch.testing.assert_close(state.double(), final, rtol=1e-6, atol=1e-5)
    spikes.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(
        layer.synapses.weight.grad.double(), reference.synapses.weight.grad, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("make", [lambda **k: LIF(0.8, 0.5, **k), lambda **k: Synaptic(0.6, 0.8, 0.5, **k)])
@pytest.mark.parametrize("reset", RESETS)
def test_without_weight_it_is_the_layer_itself(make, reset):
    torch.manual_seed(0)
    current, plain, mask = torch.randn(9, 3, 4), make(reset=reset), torch.rand(9, 3) < 0.2
    layer = Recurrent(make(reset=reset), 4, "all_to_all")
    torch.nn.init.zeros_(layer.synapses.weight)
    before = torch.randn(3, 4 * plain.states_per_neuron)
    for a, b in zip(layer(current, before, mask), plain(current, before, mask), strict=True):
        torch.testing.assert_close(a, b)


def test_a_spike_arrives_one_step_later_by_hand():
    """Neuron 0 fires at the first step, and excites neuron 1 in the second: u_1 = 0.5 * 0.4 + 0.9."""
    layer = Recurrent(LIF(0.5), 2, "all_to_all")
    with torch.no_grad():
        layer.synapses.weight.copy_(torch.tensor([[0.0, 0.0], [0.9, 0.0]]))
    spikes, state = layer(torch.tensor([[[1.5, 0.4]], [[0.0, 0.0]]]))
    assert spikes.squeeze(1).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert state.squeeze(0).tolist() == pytest.approx([0.75 - 1.0, 1.1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [lambda: LIF(0.8, 0.5), lambda: Synaptic(0.7, 0.8, 0.5)])
def test_split_sequence_and_mask(make, kind):
    torch.manual_seed(0)
    layer, current = Recurrent(make(), 4, kind), torch.randn(9, 3, 4)
    width = 4 * layer.states_per_neuron
    spikes, final = layer(current)
    first, state = layer(current[:4])
    second, state = layer(current[4:], state)
    assert torch.equal(torch.cat((first, second)), spikes)
    assert torch.equal(state, final), "to the bit, for the weights of spikes are added in the same order"
    mask = torch.zeros(9, 3, dtype=torch.bool)
    mask[5, 1] = True
    masked, masked_state = layer(current, 2 * torch.randn(3, width), mask)
    alone, alone_state = layer(current[5:, 1:2])
    assert torch.equal(masked[5:, 1:2], alone)
    torch.testing.assert_close(masked_state[1:2], alone_state)


def test_gradients_flow_through_a_state_that_is_handed_on():
    """Two halves, one after the other, have the gradient of the whole, the recurrent spike at the seam included."""
    current, membrane, synaptic, *parameters = case()
    settings, weights = Settings(Surrogate("atan"), "subtract"), torch.randn(6, 3, 5).double()
    whole = recurrent_scan(current, membrane, synaptic, Parameters(*parameters), settings)[0]
    first, *state = recurrent_scan(current[:3], membrane, synaptic, Parameters(*parameters), settings)
    second = recurrent_scan(current[3:], *state, Parameters(*parameters), settings)[0]
    inputs = (current, membrane, *parameters)
    halves = torch.autograd.grad((weights * torch.cat((first, second))).sum(), inputs)
    for a, b in zip(halves, torch.autograd.grad((weights * whole).sum(), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_called_where_torch_watches_them(kind):
    """Hooks and pruning act on the parts, and what does nothing changes nothing."""
    torch.manual_seed(0)
    current, mask = torch.randn(5, 2, 4), torch.rand(5, 2) < 0.3
    for make in (lambda: LIF(0.7, 0.4, learn_beta=True), lambda: Synaptic(0.6, 0.7, 0.4, learn_alpha=True)):
        layer = Recurrent(make(), 4, kind)
        before = torch.randn(2, 4 * layer.states_per_neuron)
        expected = layer(current, before, mask)
        grads = torch.autograd.grad(expected[0].square().sum(), list(layer.parameters()))
        seen: list = []
        handle = layer.synapses.register_forward_hook(lambda module, args, out, seen=seen: seen.append(out))
        actual = layer(current, before, mask)
        for a, b in zip(actual, expected, strict=True):
            torch.testing.assert_close(a, b)
        for a, b in zip(torch.autograd.grad(actual[0].square().sum(), list(layer.parameters())), grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        assert len(seen) == 5
        handle.remove()
        prune.l1_unstructured(layer.synapses, "weight", 1.0)
        torch.testing.assert_close(layer(current, before, mask)[0], layer.neuron(current, before, mask)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("neuron", [None, Synaptic])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_in_a_network(neuron, kind, network):
    torch.manual_seed(0)
    options = {"steps_per_observation": 3, "gain": 6.0, "hidden_gain": 3.0, "neuron": neuron, "recurrent": kind}
    if network == "mlp":
        net, inputs = SpikingMLP(3, (8, 6), 2, **options), torch.randn(4, 2, 3)
        assert all(isinstance(layer, Recurrent) for layer in net.neurons)
    else:
        net = SpikingCNN((1, 6, 6), 2, shape=((2, 3, 2),), hidden_size=6, **options)
        inputs = torch.randn(4, 2, 1, 6, 6)
        assert [isinstance(layer, Recurrent) for layer in net.neurons] == [False, True]
    whole, final, spikes = net.forward_with_spikes(inputs)
    assert all(layer.sum() > 0 for layer in spikes)
    first, state = net(inputs[:2])
    second, state = net(inputs[2:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(state, final, rtol=1e-6, atol=1e-5)
    mask = torch.zeros(4, 2, dtype=torch.bool)
    mask[1, 0] = True
    torch.testing.assert_close(net(inputs, None, mask)[0][1:, :1], net(inputs[1:, :1])[0], rtol=1e-6, atol=1e-5)
    whole.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_recurrent_spikes_are_counted():
    """Ones as inputs, a neuron that fires in both steps and one that never does: by hand."""
    for kind, each in (("all_to_all", 2), ("one_to_one", 1)):
        net = SpikingMLP(1, (2,), 1, steps_per_observation=2, beta=0.0, recurrent=kind)
        with torch.no_grad():
            net.linears[0].weight.copy_(torch.tensor([[3.0], [0.5]]))
            net.linears[0].bias.zero_()
            net.neurons[0].synapses.weight.fill_(1e-3)
            net.readout.linear.weight.fill_(1.0)
        report = count_energy(net, torch.ones(1, 1, 1))
        assert report.effective_macs == 2
        assert report.spikes_per_layer == (2.0,)
        assert report.effective_acs == 2 + each, "two spikes to the readout, the first one back to the layer"
        carried = net(torch.ones(1, 1, 1))[1]
        assert count_energy(net, torch.ones(1, 1, 1), carried).effective_acs == 2 + 2 * each
        started = torch.ones(1, 1, dtype=torch.bool)
        assert count_energy(net, torch.ones(1, 1, 1), carried, started).effective_acs == 2 + each


def test_second_derivatives_through_the_functional_path():
    net = SpikingMLP(2, (4,), 1, recurrent="all_to_all", kernel="functional", gain=5.0)
    parameters = tuple(net.parameters())
    (weight_grad,) = torch.autograd.grad(
        net(torch.ones(1, 3, 2))[0].sum(), net.neurons[0].synapses.weight, create_graph=True
    )
    assert any(
        g is not None and g.abs().sum() > 0
        for g in torch.autograd.grad(weight_grad.square().sum(), parameters, allow_unused=True)
    )


def test_bad_input():
    with pytest.raises(ValueError, match="recurrent synapses are of LIF and Synaptic neurons, got AdaptiveLIF"):
        Recurrent(AdaptiveLIF(), 3, "all_to_all")
    with pytest.raises(ValueError, match="unknown recurrence 'both': choose one_to_one or all_to_all"):
        Recurrent(LIF(), 3, "both")
    layer = Recurrent(Synaptic(), 3, "all_to_all")
    with pytest.raises(ValueError, match=r"current must be \[steps >= 1, batch, 3\], got \(1, 2, 4\)"):
        layer(torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match=r"state must be \(2, 6\), got \(2, 3\)"):
        layer(torch.zeros(1, 2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(1, 2\)"):
        layer(torch.zeros(1, 2, 3), None, torch.zeros(1, 2))
