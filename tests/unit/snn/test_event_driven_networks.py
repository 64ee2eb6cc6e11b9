"""Networks whose spikes are lists, as long as they are few, against their layers called one by one."""

import copy
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
import torch
from two_paths import Fusions, one_by_one

from synrl_ray.snn import SpikingCNN, SpikingMLP, Surrogate, SurrogateName, event_kernels, products

F64 = torch.float64
OBSERVATIONS, BATCH = 3, 4
FORWARD, WEIGHTS, INPUTS = ("add_listed", "convolve"), ("weight_gradient", "kernel_gradient"), ("input_gradient",)
THRESHOLDS = {"low": (2.5, 1.5, 1.0), "high": (0.05, 0.02, 0.02), "mixed": (0.02, 2.0, 0.1)}
COMPACT = Surrogate("box", 4.0)


def make_mlp(**options):
    return SpikingMLP(20, (144, 160, 48), 3, **options)


def make_cnn(**options):
    return SpikingCNN((2, 9, 8), 3, shape=((16, 3, 2), (32, 2, 1)), hidden_size=48, **options)


NETWORKS = {"MLP": (make_mlp, (20,)), "CNN": (make_cnn, (2, 9, 8))}


def made(name, activity="low", dtype=F64, steps=3, **options):
    """A network of that activity, and observations."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    net = make(steps_per_observation=steps, gain=3.0, hidden_gain=3.0, **options).to(dtype)
    with torch.no_grad():
        for neuron, threshold in zip(net.neurons, THRESHOLDS[activity], strict=True):
            neuron.threshold.fill_(threshold)
    return net, torch.randn(OBSERVATIONS, BATCH, *shape, dtype=dtype)


def carried(net, dtype=F64):
    """A state, and which rows start anew."""
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(BATCH, net.state_size, generator=generator, dtype=F64).to(dtype)
    return state, torch.rand(OBSERVATIONS, BATCH, generator=generator) < 0.3


def trained(net, inputs, state=None, mask=None):
    """Outputs, final state and all gradients; the weights of the sum depend on the place."""
    inputs = inputs.clone().requires_grad_()
    state = None if state is None else state.clone().requires_grad_()
    found = net(inputs, state, mask)
    loss = sum((x * torch.linspace(-1, 2, x.numel(), dtype=x.dtype).view(x.shape)).sum() for x in found)
    wanted = [inputs, *([] if state is None else [state]), *net.parameters()]
    return [*(x.detach() for x in found), *torch.autograd.grad(loss, wanted)]


def assert_close(found, expected, tolerance=1e-9):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.detach().abs().max())))


@pytest.fixture
def fusions(monkeypatch):
    return Fusions(monkeypatch)


@pytest.fixture
def calls(monkeypatch):
    """How often each kernel of the lists is called."""
    counts = Counter()

    def counted(name, kernel):
        def call(*args):
            counts[name] += 1
            return kernel(*args)

        return call

    for name in (*FORWARD, *WEIGHTS, *INPUTS):
        monkeypatch.setattr(event_kernels, name, counted(name, getattr(event_kernels, name)))
    return counts


def total(calls, names):
    return sum(calls[name] for name in names)


@pytest.mark.parametrize("surrogate", [*get_args(SurrogateName), COMPACT], ids=str)
@pytest.mark.parametrize("reset", ["none", "subtract", "zero"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("activity", THRESHOLDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_equals_the_layers_one_by_one(name, activity, steps, reset, surrogate, fusions):
    surrogate = Surrogate(surrogate) if isinstance(surrogate, str) else surrogate
    learned = reset != "none"
    net, inputs = made(
        name, activity, steps=steps, reset=reset, surrogate=surrogate, learn_beta=learned, learn_threshold=learned
    )
    given = carried(net) if steps > 1 else (None, None)
    assert_close(trained(net, inputs, *given), trained(one_by_one(net), inputs, *given))
    with torch.no_grad():
        assert_close(net(inputs, *given), one_by_one(net)(inputs, *given))
    assert fusions.count == 2


@pytest.mark.parametrize("norm", ["none", "running"])
@pytest.mark.parametrize("name", NETWORKS)
def test_single_precision_and_normalisation(name, norm, calls):
    net, inputs = made(name, dtype=torch.float32, norm=norm, surrogate=COMPACT)
    for i, moments in enumerate(net.norms or ()):
        moments.update(torch.randn(9, moments.weight.numel(), *([1, 1] if moments.is_map else [])) * (1 + i))
    given = carried(net, torch.float32)
    assert_close(trained(net, inputs, *given), trained(one_by_one(net), inputs, *given), 2e-5)
    assert total(calls, FORWARD) == total(calls, WEIGHTS) == 2


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("activity", THRESHOLDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_lists_are_taken_where_few_fire_and_few_are_near(name, activity, threads, calls, monkeypatch):
    """The layers are so small that each is one block, whose activity decides."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    net, inputs = made(name, activity, surrogate=COMPACT)
    *_, spikes = one_by_one(net).forward_with_spikes(inputs)
    few = [s.detach().mean() <= products.MOST_FIRED / threads for s in spikes[:-1]]
    trained(net, inputs)
    assert total(calls, FORWARD) == total(calls, WEIGHTS) == sum(few)
    assert {"low": all(few) or threads > 1, "high": not any(few), "mixed": True}[activity]
    if activity == "mixed" and threads == 1:
        assert few == [False, True]
    trained(one_by_one(net), inputs)
    assert total(calls, FORWARD) == sum(few), "the layers one by one have no lists"


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_go_to_the_few_that_are_near(name, calls):
    """Of a box, by how wide it is; never of a surrogate that has a derivative everywhere."""
    for surrogate, expected in [
        (Surrogate("box", 40.0), 2),
        (Surrogate("triangle", 40.0), 2),
        (Surrogate("box", 0.1), 0),
        *((Surrogate(wide, 1e6), 0) for wide in ("fast_sigmoid", "atan", "sigmoid", "straight_through")),
    ]:
        net, inputs = made(name, surrogate=surrogate)
        calls.clear()
        trained(net, inputs)
        assert total(calls, INPUTS) == expected, surrogate


def test_no_tail_of_a_wide_surrogate_is_cut_off():
    """However far a neuron is from its threshold, it learns by the spikes it did not have, and of a box it does not."""
    for surrogate, learns in ((Surrogate("atan", 100.0), True), (Surrogate("box", 100.0), False)):
        net, inputs = made("MLP", surrogate=surrogate)
        with torch.no_grad():
            net.linears[0].weight.zero_()
            net.linears[0].bias.fill_(-5)
        biases = [
            torch.autograd.grad(each(inputs)[0].sum(), each.linears[0].bias)[0] for each in (net, one_by_one(net))
        ]
        assert_close(biases[:1], biases[1:])
        assert biases[0].ne(0).all() if learns else biases[0].eq(0).all()


def test_lists_that_are_given_up_midway(calls):
    """The first rows are silent, of a layer with several blocks, some of which end in mid-row; the others are not."""
    for width in (1040, 2064):
        torch.manual_seed(0)
        net = SpikingMLP(6, (width, 16), 2, gain=9.0, surrogate=COMPACT, threshold=0.5).double()
        with torch.no_grad():
            net.linears[0].bias.zero_()
        inputs = torch.randn(2, 8, 6, dtype=F64)
        inputs[:, :2] = 0
        *_, spikes = net.forward_with_spikes(inputs)
        assert spikes[0][:, :2].sum() == 0
        assert spikes[0].mean() > 1.2 * products.MOST_FIRED
        assert_close(trained(net, inputs), trained(one_by_one(net), inputs))
        assert total(calls, (*FORWARD, *WEIGHTS)) == 0
        assert_close(trained(net, inputs[:, :3]), trained(one_by_one(net), inputs[:, :3]))
        assert total(calls, FORWARD) == 1
        calls.clear()


@pytest.mark.parametrize("activity", THRESHOLDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_numbers_every_time_and_from_every_thread(name, activity):
    net, inputs = made(name, activity, surrogate=COMPACT, dtype=torch.float32)
    expected = trained(net, inputs)
    with ThreadPoolExecutor(3) as pool:
        again = [trained(net, inputs), *pool.map(lambda _: trained(net, inputs), range(6))]
    for found in again:
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("activity", THRESHOLDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_fragments_equal_the_whole(name, activity):
    """Whatever was given up in one of them."""
    net, inputs = made(name, activity)
    state, mask = carried(net)
    outputs, final = net(inputs, state, mask)
    parts = []
    for e in range(OBSERVATIONS):
        part, state = net(inputs[e : e + 1], state, mask[e : e + 1])
        parts.append(part)
    assert_close([torch.cat(parts), state], [outputs, final])


@pytest.mark.parametrize("name", NETWORKS)
def test_membranes_that_are_not_finite(name):
    """A neuron with NaN is silent for good, one with infinity fires for good; what follows stays finite."""
    net, inputs = made(name)
    state, _ = carried(net)
    state[0, :20:2], state[1, :9] = float("nan"), float("inf")
    with torch.no_grad():
        found, expected = net(inputs, state), one_by_one(net)(inputs, state)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9, equal_nan=True)
    assert found[0].isfinite().all()


CHANGES = {
    "rows": lambda layer: setattr(layer.weight, "data", layer.weight.data.contiguous()),
    "columns": lambda layer: setattr(layer.weight, "data", layer.weight.transpose(0, 1).contiguous().transpose(0, 1)),
    "strided": lambda layer: setattr(layer.weight, "data", layer.weight.repeat_interleave(2, 1)[:, ::2]),
    "assigned": lambda layer: layer.load_state_dict({n: t.clone() for n, t in layer.state_dict().items()}, assign=True),
    "copied": copy.deepcopy,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NETWORKS)
def test_layouts_of_weights_change_no_number(name, change, fusions):
    net, inputs = made(name, surrogate=COMPACT)
    expected = trained(net, inputs)
    net.apply(lambda layer: CHANGES[change](layer) if hasattr(layer, "weight") else None)
    assert_close(trained(net, inputs), expected)
    assert fusions.count == 2


@pytest.mark.parametrize("activity", THRESHOLDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_lie_in_memory_as_their_weights_do(name, activity):
    """A fused Adam reads both as they lie."""
    net, inputs = made(name, activity, surrogate=COMPACT)
    net(inputs)[0].sum().backward()
    assert [p.grad.stride() for p in net.parameters()] == [p.stride() for p in net.parameters()]


@pytest.mark.parametrize("changed", ["weight", "bias"])
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_backward_needs_are_not_changed_before(name, changed):
    """Nor need a bias stay, in either path; where the graph is kept, a second pass finds the same."""
    net, inputs = made(name, surrogate=COMPACT)
    for each in (net, one_by_one(net)):
        outputs, _ = each(inputs)
        wanted = list(each.parameters())
        twice = [torch.autograd.grad(outputs.square().sum(), wanted, retain_graph=True) for _ in range(2)]
        assert all(torch.equal(a, b) for a, b in zip(*twice, strict=True))
        with torch.no_grad():
            getattr(each.weights[1], changed).mul_(2)
        if changed == "weight":
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                torch.autograd.grad(outputs.square().sum(), wanted)
        else:
            assert_close(torch.autograd.grad(outputs.square().sum(), wanted), twice[0])


def test_bytes_are_scaled_on_the_way():
    net, _ = made("CNN", dtype=torch.float32)
    frames = torch.randint(0, 256, (OBSERVATIONS, BATCH, 2, 9, 8), dtype=torch.uint8)
    assert_close(net(frames), one_by_one(net)(frames), 1e-5)
    assert_close(net(frames), net(frames.float() / 255), 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NETWORKS)
def test_other_types_run_layer_by_layer(name, dtype, fusions):
    net, inputs = made(name, dtype=dtype)
    assert net(inputs)[0].dtype is dtype
    assert fusions.count == 0
