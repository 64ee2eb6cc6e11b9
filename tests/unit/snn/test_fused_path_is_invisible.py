"""What torch's tools do to a network's layers: on the fused path as on the layers called one by one."""

import copy
import io
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, parametrizations, parametrize, prune, vector_to_parameters
from two_paths import WAYS, Fusions, assert_same, make_net, observations, one_by_one, put, take, trained

from synrl_ray.snn import LIF


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    take(request.param, monkeypatch)
    return request.param


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def fusions(monkeypatch):
    return Fusions(monkeypatch)


LAYERS = {
    "first": lambda net: net.weights[0],
    "hidden": lambda net: net.weights[1],
    "neurons": lambda net: net.neurons[1],
    "readout": lambda net: net.readout,
    "readout's weights": lambda net: net.readout.linear,
    "readout's integrator": lambda net: net.readout.integrator,
    "network": lambda net: net,
}


def scaled(outputs, factor):
    """A hook's replacement of what a layer or a neuron returns."""
    return tuple(out * factor for out in outputs) if isinstance(outputs, tuple) else outputs * factor


def forward_hook(layer, log):
    def hook(module, args, outputs):
        log.append((type(module).__name__, [tuple(a.shape) for a in args if a is not None]))
        return scaled(outputs, 1.1)

    layer.register_forward_hook(hook)


def forward_pre_hook(layer, log):
    def hook(module, args):
        log.append(type(module).__name__)
        return (args[0] * 0.9, *args[1:])

    layer.register_forward_pre_hook(hook)


def backward_hook(layer, log):
    def hook(module, by_inputs, by_outputs):
        log.append([None if g is None else tuple(g.shape) for g in (*by_inputs, *by_outputs)])
        return tuple(2 * g if g is not None and g.is_floating_point() else g for g in by_inputs)

    layer.register_full_backward_hook(hook)


def backward_pre_hook(layer, log):
    layer.register_full_backward_pre_hook(lambda module, grads: tuple(None if g is None else 2 * g for g in grads))


def own_forward(layer, log):
    before = layer.forward

    def forward(*args, **kwargs):
        log.append(type(layer).__name__)
        return scaled(before(*args, **kwargs), 1.2)

    layer.forward = forward


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("tool", [forward_hook, forward_pre_hook, backward_hook, backward_pre_hook, own_forward])
def test_hooks_and_replaced_forwards(tool, layer, steps):
    net = make_net(steps)
    untouched = trained(one_by_one(net), lambda net, log: None)
    expected = trained(one_by_one(net), lambda net, log: tool(LAYERS[layer](net), log))
    actual = trained(net, lambda net, log: tool(LAYERS[layer](net), log))
    assert_same(actual, expected)
    assert expected.error is None
    seen, before = expected.outputs + expected.gradients, untouched.outputs + untouched.gradients
    assert any(not torch.equal(a, b) for a, b in zip(seen, before, strict=True))


class Doubling(nn.Linear):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


class Adapter(nn.Module):
    """Low-rank adaptation of a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, 2, bias=False)
        self.up = nn.Linear(2, layer.out_features, bias=False)

    def forward(self, inputs):
        return self.layer(inputs) + self.up(self.down(inputs))


class Deaf(LIF):
    def forward(self, current, membrane=None, reset_mask=None):
        return super().forward(0.5 * current, membrane, reset_mask)


class Half(nn.Module):
    def forward(self, weight):
        return 0.5 * weight


class Tagged(torch.Tensor):
    """Computes nothing else than a tensor."""


def like(layer, kind=nn.Linear, **options):
    return kind(layer.in_features, layer.out_features, **options)


def in_readout(tool):
    def apply(net, log):
        replaced = tool(net.readout.linear)
        if isinstance(replaced, nn.Module):
            net.readout.linear = replaced

    return apply


def in_hidden(tool):
    def apply(net, log):
        replaced = tool(net.weights[1])
        if isinstance(replaced, nn.Module):
            put(net, 1, replaced)

    return apply


def set_weight(layer, tensor):
    layer.weight = nn.Parameter(tensor)


def freeze(*names):
    return lambda net, log: [LAYERS[name](net).requires_grad_(False) for name in names]


def tie(net, log):
    net.neurons[1].beta = net.neurons[0].beta
    net.neurons[1].threshold = net.neurons[0].threshold


def set_attributes(index, **values):
    def apply(net, log):
        for name, value in values.items():
            setattr(net.neurons[index], name, nn.Parameter(value.clone()) if isinstance(value, torch.Tensor) else value)

    return apply


def prune_all(net, log):
    layers = [(layer, "weight") for layer in (*net.weights, net.readout.linear)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.4)


def prune_for_good(net, log):
    prune.l1_unstructured(net.weights[1], "weight", 0.5)
    prune.remove(net.weights[1], "weight")


def wider(net, log):
    first = net.weights[0]
    put(net, 0, nn.Linear(5, 9) if isinstance(first, nn.Linear) else nn.Conv2d(5, 9, first.kernel_size))
    put(net, 1, nn.Linear(9, 6))


def to_vector_and_back(net, log):
    vector = torch.cat([p.detach().flatten() for p in net.parameters()])
    vector_to_parameters(vector * 1.1, net.parameters())


def expanded(net, log):
    net.weights[0].bias = nn.Parameter(torch.full((1,), 0.1).expand(7).clone())
    net.weights[0].weight.data = torch.randn_like(net.weights[0].weight).transpose(0, 1).contiguous().transpose(0, 1)


def parameter_hooks(net, log):
    net.weights[0].weight.register_hook(lambda g: log.append(tuple(g.shape)) or 3 * g)
    net.neurons[0].beta.register_hook(lambda g: 0.5 * g)
    net.readout.linear.bias.register_post_accumulate_grad_hook(lambda p: log.append("accumulated"))


def clipped(net, log):
    net.readout.linear.weight.register_post_accumulate_grad_hook(lambda p: log.append(bool(clip_grad_norm_([p], 0.1))))


TOOLS = {
    "parametrized hidden": in_hidden(lambda layer: parametrize.register_parametrization(layer, "weight", Half())),
    "parametrized readout": in_readout(lambda layer: parametrize.register_parametrization(layer, "bias", Half())),
    "parametrized decay": lambda net, log: parametrize.register_parametrization(net.neurons[0], "beta", Half()),
    "weight norm": in_hidden(parametrizations.weight_norm),
    "weight norm of the readout": in_readout(parametrizations.weight_norm),
    "spectral norm": in_hidden(parametrizations.spectral_norm),
    "orthogonal": in_hidden(parametrizations.orthogonal),
    "old weight norm": in_hidden(nn.utils.weight_norm),
    "old weight norm of the readout": in_readout(nn.utils.weight_norm),
    "old weight norm of the readout's bias": in_readout(lambda layer: nn.utils.weight_norm(layer, "bias")),
    "old spectral norm": in_hidden(nn.utils.spectral_norm),
    "pruned": in_hidden(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "pruned biases of the readout": in_readout(lambda layer: prune.l1_unstructured(layer, "bias", 0.5)),
    "pruned everywhere": prune_all,
    "pruned for good": prune_for_good,
    "another class": in_hidden(lambda layer: like(layer, Doubling)),
    "another class in the readout": in_readout(lambda layer: like(layer, Doubling)),
    "adapter": in_hidden(Adapter),
    "adapter in the readout": in_readout(Adapter),
    "dropout": in_hidden(lambda layer: nn.Sequential(nn.Dropout(0.5), layer)),
    "dropout while evaluating": lambda net, log: TOOLS["dropout"](net, log) or net.eval(),
    "no bias": in_hidden(lambda layer: like(layer, bias=False)),
    "no bias in the readout": in_readout(lambda layer: like(layer, bias=False)),
    "identity": in_hidden(lambda layer: nn.Sequential(layer, nn.Identity())),
    "other widths": wider,
    "other neurons": lambda net, log: net.neurons.__setitem__(1, Deaf(0.8)),
    "neurons of other widths": set_attributes(1, beta=torch.full((5,), 0.5)),
    "graded": set_attributes(1, graded=True),
    "reset": set_attributes(0, reset="zero"),
    "held twice": set_attributes(1, hold=2),
    "kernel of the neurons": set_attributes(1, kernel="functional"),
    "decay and threshold of each neuron": set_attributes(
        1, beta=torch.linspace(-0.2, 1.2, 6), threshold=torch.linspace(0.2, 1, 6)
    ),
    "decay beyond its range": set_attributes(1, beta=torch.tensor(1.5)),
    "frozen first": freeze("first"),
    "frozen behind the first": freeze("hidden", "neurons", "readout"),
    "frozen": freeze("network"),
    "transposed weight": in_hidden(lambda layer: set_weight(layer, torch.randn(7, 6).t())),
    "strided weight": in_readout(lambda layer: set_weight(layer, torch.randn(2, 12)[:, ::2])),
    "expanded": expanded,
    "subclass of tensor": in_hidden(lambda layer: set_weight(layer, torch.randn(6, 7).as_subclass(Tagged))),
    "single weights": in_hidden(lambda layer: layer.float()),
    "half of the layers on the meta device": in_hidden(lambda layer: layer.to("meta")),
    "sparse": in_hidden(lambda layer: set_weight(layer, torch.randn(6, 7).relu().to_sparse())),
    "tied": tie,
    "hooks on parameters": parameter_hooks,
    "shared memory": lambda net, log: net.share_memory(),
    "vector": to_vector_and_back,
    "clipped": clipped,
}  # fmt: skip


@pytest.mark.parametrize("name", TOOLS)
def test_tools_on_layers(name, way):
    net = make_net()
    expected = trained(one_by_one(net), TOOLS[name])
    actual = trained(net, TOOLS[name])
    if name == "hooks on parameters":  # torch promises an order within one parameter's, not among parameters
        actual.log.sort(key=str), expected.log.sort(key=str)
    assert_same(actual, expected)
    raises = {"other widths", "neurons of other widths", "single weights", "held twice", "sparse"}
    raises |= {"half of the layers on the meta device"}
    if way == "maps":
        raises |= {"pruned everywhere"}  # torch wants weights side by side, those of convolutions are channels-last
    assert (expected.error is not None) == (name in raises)


def test_without_tools_the_path_is_fused(fusions):
    net = make_net()
    trained(net, lambda net, log: None)
    assert fusions.count == 3
    trained(one_by_one(net), lambda net, log: None)
    assert fusions.count == 3


@pytest.mark.parametrize("name", ["frozen first", "transposed weight", "hooks on parameters", "shared memory", "reset"])
def test_what_changes_no_layer_leaves_the_path_fused(name, fusions):
    assert trained(make_net(), TOOLS[name]).error is None
    assert fusions.count == 3


def test_fused_again_when_the_hook_is_gone(fusions):
    net = make_net()
    handle = net.weights[1].register_forward_hook(lambda *_: None)
    net(observations())
    assert fusions.count == 0
    handle.remove()
    net(observations())
    assert fusions.count == 1
    net.weights[1]._forward_hooks = OrderedDict()  # how people drop all hooks
    log = []
    net.weights[1].register_forward_hook(lambda *_: log.append("seen"))
    net(observations())
    assert (fusions.count, log) == (1, ["seen"])


def test_global_hooks():
    def tool(net, log):
        return nn.modules.module.register_module_forward_hook(
            lambda module, args, out: log.append(type(module).__name__)
        )

    def backward_tool(net, log):
        return nn.modules.module.register_module_full_backward_hook(
            lambda module, i, o: log.append(type(module).__name__)
        )

    for each in (tool, backward_tool):
        net = make_net()
        expected = trained(one_by_one(net), each)
        assert_same(trained(net, each), expected)
        assert expected.log.count("LIF") == 3 * (2 + 2)  # two layers, and two steps of the readout's integrator


def test_quantised_weights():
    net = make_net().float()
    quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    assert "DynamicQuantizedLinear" in str(type(quantised.readout.linear)) + str(quantised)
    with torch.no_grad():
        outputs, state = quantised(observations(torch.float32))
        expected, expected_state = one_by_one(quantised)(observations(torch.float32))
        exact = net(observations(torch.float32))[0]
    assert torch.equal(outputs, expected)
    assert torch.equal(state, expected_state)
    assert not torch.equal(outputs, exact)


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "torch.save": saved,
    "moving average": lambda net: torch.optim.swa_utils.AveragedModel(net).module,
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("hooked", [False, True])
def test_copies(name, hooked, fusions):
    net = make_net()
    with torch.no_grad():  # torch copies no weight that a hook has computed with a graph
        net(observations())
        if hooked:
            prune.l1_unstructured(net.weights[1], "weight", 0.5)
        found, expected = COPIES[name](net)(observations()), one_by_one(net)(observations())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    assert fusions.count == (1 if hooked else 2)
