"""Gradients through the fused path: what may change between the passes, how often they run, who shares memory."""

import copy

import pytest
import torch
from torch import nn
from two_paths import WAYS, make_net, observations, one_by_one, take


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    take(request.param, monkeypatch)
    return request.param


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def outcome(function):
    """What it returns, or the first line of the error that it raises."""
    try:
        return function()
    except RuntimeError as error:
        return str(error).splitlines()[0].split(":")[0]


def same(a, b):
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return len(a) == len(b) and all(torch.allclose(x, y, rtol=0, atol=1e-9) for x, y in zip(a, b, strict=True))


def gradients(net, change, frozen=(), with_state=True):
    """Of all that wants one, with a change between the passes."""
    for part, i in frozen:
        getattr(net, part)[i].requires_grad_(False)
    inputs = observations()
    state = torch.zeros(3, net.state_size) if with_state else None
    outputs, final = net(inputs, state)
    with torch.no_grad():
        change(net, inputs, state)
    wanted = [p for p in net.parameters() if p.requires_grad]
    return torch.autograd.grad(outputs.sin().sum() + final.sum(), wanted)


CHANGES = {
    "first weight": lambda net, inputs, state: net.weights[0].weight.mul_(2),
    "hidden weight": lambda net, inputs, state: net.weights[1].weight.mul_(2),
    "weight of the readout": lambda net, inputs, state: net.readout.linear.weight.mul_(2),
    "bias": lambda net, inputs, state: net.weights[1].bias.add_(1),
    "bias of the readout": lambda net, inputs, state: net.readout.linear.bias.add_(1),
    "decay": lambda net, inputs, state: net.neurons[0].beta.mul_(0.5),
    "threshold": lambda net, inputs, state: net.neurons[1].threshold.mul_(0.5),
    "inputs": lambda net, inputs, state: inputs.zero_(),
    "state": lambda net, inputs, state: state.add_(1),
    "data of the weight": lambda net, inputs, state: setattr(net.weights[1].bias, "data", net.weights[1].bias + 1),
}


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("frozen", [(), [("weights", 0)], [("neurons", 0)], [("weights", 1), ("neurons", 1)]])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_in_place_between_the_passes(change, frozen, learned, way):
    """Of maps one of the two may keep copies: where the other refuses, it finds what it would without the change."""
    net = make_net(learn_beta=learned, learn_threshold=learned)
    actual = outcome(lambda: gradients(copy.deepcopy(net), CHANGES[change], frozen))
    expected = outcome(lambda: gradients(one_by_one(net), CHANGES[change], frozen))
    if way == "maps" and isinstance(expected, str) != isinstance(actual, str):
        unchanged = gradients(copy.deepcopy(net), lambda *_: None, frozen)
        assert same(expected if isinstance(actual, str) else actual, unchanged), (actual, expected)
    else:
        assert same(actual, expected), (actual, expected)
    if change == "hidden weight" and not frozen:
        assert (
            expected == "one of the variables needed for gradient computation has been modified by an inplace operation"
        )


def test_a_second_backward_pass_needs_the_graph():
    for net in (make_net(), one_by_one(make_net())):
        outputs, _ = net(observations())
        outputs.sum().backward(retain_graph=True)
        outputs.sum().backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            outputs.sum().backward()


def test_gradients_of_gradients_are_refused_and_first_ones_with_a_graph_are_not():
    found = []
    for net in (make_net(), one_by_one(make_net())):
        inputs = observations().requires_grad_()
        (gradient,) = torch.autograd.grad(net(inputs)[0].square().sum(), inputs, create_graph=True)
        found.append(gradient.detach())
        with pytest.raises(RuntimeError, match="differentiate twice"):
            gradient.sum().backward()
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


def test_gradcheck_of_graded_neurons():
    """They emit the surrogate's primitive, so that finite differences see its derivative; the fused path has spikes."""
    net = make_net(2, sizes=(4, 3))
    for neuron in net.neurons:
        neuron.graded, neuron.reset = True, "none"
    names = [name for name, _ in net.named_parameters()]

    def run(inputs, *parameters):
        return torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), (inputs,))

    parameters = [p.detach().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(run, (observations(num=1).requires_grad_(), *parameters), atol=1e-4)


def test_gradients_are_changed_in_place_one_by_one():
    """A graph that holds one parameter's gradient minds no change of another's."""
    net = make_net()
    net(observations())[0].sum().backward()
    first, second = net.weights[0].weight.grad, net.weights[1].weight.grad
    scale = torch.ones((), requires_grad=True)
    held = (first * scale).sum()
    second.zero_()
    held.backward()
    torch.testing.assert_close(scale.grad, first.sum())
    assert first._version == 0


def test_outputs_may_be_changed_in_place():
    for net in (make_net(), one_by_one(make_net())):
        outputs, state = net(observations(num=1))
        state.mul_(0.5)
        outputs.mul_(2)
        (outputs.sum() + state.sum()).backward()
        assert net.weights[0].weight.grad.isfinite().all()


def test_inference_tensors_and_frozen_networks():
    with torch.inference_mode():
        inputs = observations()
    for net in (make_net(), one_by_one(make_net())):
        net.requires_grad_(False)
        outputs, state = net(inputs)
        assert not outputs.requires_grad
        assert not state.requires_grad


def test_input_gradients_alone():
    found = []
    for net in (make_net(), one_by_one(make_net())):
        net.requires_grad_(False)
        inputs = observations().requires_grad_()
        net(inputs)[0].sum().backward()
        assert all(p.grad is None for p in net.parameters())
        found.append(inputs.grad)
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


def test_distributed_data_parallel(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        found = []
        for net in (make_net(), one_by_one(make_net())):
            parallel = nn.parallel.DistributedDataParallel(net)
            for _ in range(2):
                parallel(observations())[0].sum().backward()
            found.append([p.grad for p in net.parameters()])
    finally:
        torch.distributed.destroy_process_group()
    assert same(*found)


def test_weights_that_are_replaced_by_plain_tensors():
    """As weights that another network computes are: gradients reach it."""
    found = []
    for net in (make_net(), one_by_one(make_net())):
        scale = torch.ones((), requires_grad=True)
        layer = net.weights[1]
        weight = layer.weight.detach()
        del layer.weight
        layer.weight = weight * scale
        net(observations())[0].sum().backward()
        found.append(scale.grad)
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


def test_a_subclass_with_its_own_way_through_the_layers():
    class Loud(type(make_net())):
        def forward_with_spikes(self, inputs, state=None, reset_mask=None):
            outputs, state, spikes = super().forward_with_spikes(inputs, state, reset_mask)
            return outputs + 1, state, spikes

    quiet, loud = make_net(), make_net()
    loud.__class__ = Loud
    torch.testing.assert_close(loud(observations())[0], quiet(observations())[0] + 1, rtol=0, atol=1e-9)
