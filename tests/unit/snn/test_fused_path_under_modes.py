"""Torch's modes, transforms and tracers around a network: on the fused path as on the layers called one by one."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from two_paths import WAYS, Fusions, assert_same, make_net, observations, one_by_one, take, trained

from synrl_ray.snn import MLP, AdaptiveLIF, SpikingCNN, SpikingMLP, Synaptic


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


class Calls(TorchFunctionMode):
    def __init__(self, log):
        super().__init__()
        self.log = log

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is nn.functional.linear:
            self.log.append("linear")
        return function(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    def __init__(self, log):
        super().__init__()
        self.log = log

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.log.append((str(operation), [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]))
        return operation(*args, **(kwargs or {}))


def saved_tensors(net, log):
    return torch.autograd.graph.saved_tensors_hooks(lambda t: log.append(tuple(t.shape)) or t.clone(), lambda t: t)


MODES = {
    "functions": lambda net, log: Calls(log),
    "operations": lambda net, log: Operations(log),
    "saved tensors": saved_tensors,
    "saved on the CPU": lambda net, log: torch.autograd.graph.save_on_cpu(),
    "anomalies": lambda net, log: torch.autograd.detect_anomaly(),
    "default device": lambda net, log: torch.device("cpu"),
    "another default device": lambda net, log: torch.device("meta"),
    "no gradients": lambda net, log: torch.no_grad(),
    "inference": lambda net, log: torch.inference_mode(),
    "profiler": lambda net, log: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
    "deterministic": lambda net, log: torch.use_deterministic_algorithms(True),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", MODES)
def test_modes(name):
    net = make_net()
    try:
        expected = trained(one_by_one(net), MODES[name])
        assert_same(trained(net, MODES[name]), expected)
    finally:
        torch.use_deterministic_algorithms(False)
    assert (expected.error is None) == (name != "another default device")


def values(net, inputs):
    outputs, state = net(inputs)
    return torch.cat((outputs.flatten(), state.flatten()))


def both(net, function):
    """What the function makes of the network and of its twin."""
    return function(net), function(one_by_one(net))


def assert_close(pair):
    torch.testing.assert_close(*pair, rtol=0, atol=1e-9)


def test_autocast():
    net = make_net().float()
    inputs = observations(torch.float32)

    def run(net):
        with torch.autocast("cpu", torch.bfloat16):
            outputs, state = net(inputs)
        assert state.dtype is torch.float32  # membranes keep their precision
        return outputs, state, *torch.autograd.grad(outputs.sum() + state.sum(), list(net.parameters()))

    pair = both(net, run)
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
    assert not torch.equal(pair[0][0], net(inputs)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_types(dtype):
    net = make_net().to(dtype)
    a, b = both(net, lambda net: net(observations(dtype))[0])
    assert a.dtype is dtype
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_meta_device():
    outputs, state = make_net().to("meta")(observations().to("meta"))
    assert (outputs.device.type, tuple(outputs.shape), tuple(state.shape)) == ("meta", (2, 3, 2), (3, 15))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(reentrant):
    def run(net):
        inputs = observations().requires_grad_()
        outputs, _ = checkpoint(net, inputs, use_reentrant=reentrant)
        return torch.cat([g.flatten() for g in torch.autograd.grad(outputs.sum(), [inputs, *net.parameters()])])

    def run_reentrant(net):
        net.zero_grad()
        checkpoint(net, observations().requires_grad_(), use_reentrant=True)[0].sum().backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    assert_close(both(make_net(), run_reentrant if reentrant else run))


def test_functional_call():
    net = make_net()
    other = {name: p.detach() * 1.2 for name, p in net.named_parameters()}
    other["neurons.0.beta"] = torch.tensor(1.4)  # beyond its range, clamped in use
    pair = both(net, lambda net: functional_call(net, other, (observations(),))[0])
    assert_close(pair)
    changed = copy.deepcopy(net)
    changed.load_state_dict(other, strict=False)
    assert_close((pair[0], changed(observations())[0]))


TRANSFORMS = {
    "grad": lambda net, x: grad(lambda p: functional_call(net, p, (x,))[0].sum())(dict(net.named_parameters())),
    "second derivative": lambda net, x: grad(lambda x: grad(lambda x: values(net, x).sin().sum())(x).sum())(x),
    "vmap": lambda net, x: vmap(lambda x: values(net, x))(torch.stack((x, 2 * x))),
    "jvp": lambda net, x: jvp(lambda x: values(net, x), (x,), (torch.ones_like(x),))[1],
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_function_transforms(name):
    a, b = both(make_net(), lambda net: TRANSFORMS[name](net, observations()))
    for x, y in zip(*((r.values() if isinstance(r, dict) else [r]) for r in (a, b)), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-9)


def test_dual_numbers():
    def run(net):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(observations(), torch.ones_like(observations()))
            return torch.autograd.forward_ad.unpack_dual(net(dual)[0]).tangent

    net = make_net()
    assert_close(both(net, run))
    assert_close((run(net), jvp(lambda x: net(x)[0], (observations(),), (torch.ones_like(observations()),))[1]))


def test_floating_point_operations_are_counted():
    def run(net):
        with FlopCounterMode(display=False) as counter:
            net(observations())[0].sum().backward()
        return counter.get_total_flops()

    a, b = both(make_net(), run)
    assert a == b > 0


TRACERS = {
    "jit.trace": lambda net: torch.jit.trace(net, (observations(),), check_trace=False),
    "export": lambda net: torch.export.export(net, (observations(),)).module(),
    "make_fx": lambda net: make_fx(lambda x: net(x))(observations()),
    "compile": lambda net: torch.compile(net, backend="aot_eager", fullgraph=True),
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", TRACERS)
def test_tracers_follow_every_operation(name):
    """What they recorded on some observations holds for others."""
    net = make_net()
    with torch.no_grad():
        for net_ in (net, one_by_one(net)):
            traced = TRACERS[name](net_)
            for a, b in zip(traced(-observations()), net(-observations()), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_compiled_kernels_that_are_asked_for_cannot_be_traced():
    net = make_net(kernel="numba")
    with pytest.raises(ValueError, match='numba kernel cannot be traced or transformed: take kernel="functional"'):
        torch.jit.trace(net, (observations(),))


NETWORKS = {
    "synaptic": lambda: SpikingMLP(5, (7, 6), 2, neuron=Synaptic, gain=3.0),
    "adaptive": lambda: SpikingMLP(5, (7, 6), 2, neuron=AdaptiveLIF, gain=3.0),
    "skip": lambda: SpikingMLP(5, (7, 7, 7), 2, skip=True, gain=3.0),
    "convolutional": lambda: SpikingCNN((1, 8, 8), 2, shape=((2, 4, 2),), hidden_size=5, gain=3.0),
    "not spiking": lambda: MLP(5, (7, 6), 2),
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("way", ["matrix products"], indirect=True)
def test_other_networks_are_traced(name, tracer, monkeypatch):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    shape = (2, 3, 1, 8, 8) if name == "convolutional" else (2, 3, 5)
    inputs = torch.randn(shape)
    monkeypatch.setitem(globals(), "observations", lambda: inputs)
    with torch.no_grad():
        traced = TRACERS[tracer](net)
        for a, b in zip(traced(-inputs), net(-inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_inference_stays_fused(fusions):
    net = make_net()
    with torch.inference_mode():
        net(observations())
    with torch.no_grad():
        net(observations())
    assert fusions.count == 2
