"""A network that may take the fused path, and its twin that calls its layers one by one, under the same tool.

Either of fully connected layers or, with ``maps``, the first one a convolution, of the same numbers of inputs, neurons
and outputs but for the pixels.
"""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from synrl_ray.snn import SpikingCNN, SpikingMLP, stack

SIZES = (7, 6)
NUM_INPUTS, NUM_OUTPUTS, BATCH = 5, 2, 3
WAYS = {"matrix products": 0, "one compiled call": 10**6, "maps": 0}
PIXELS = {"maps": (2, 2)}
way = "matrix products"


def take(name, monkeypatch):
    """Which networks are made, and how many rows are few enough for one compiled call."""
    monkeypatch.setattr(stack, "SMALL_ROWS", WAYS[name])
    monkeypatch.setitem(globals(), "way", name)


@dataclass
class Seen:
    """What a tool met while a network trained."""

    outputs: list = field(default_factory=list)
    gradients: list = field(default_factory=list)
    log: list = field(default_factory=list)
    error: type | None = None
    message: str = ""


def make_net(steps=3, dtype=torch.float64, sizes=SIZES, **options):
    torch.manual_seed(0)
    options = {
        "threshold": 0.5,
        "learn_beta": True,
        "learn_threshold": True,
        "gain": 3.0,
        "hidden_gain": 2.0,
        **options,
    }
    options["steps_per_observation"] = steps
    if way != "maps":
        return SpikingMLP(NUM_INPUTS, sizes, NUM_OUTPUTS, **options).to(dtype)
    first, hidden = sizes
    shape = (first, PIXELS[way][0], 1)
    return SpikingCNN((NUM_INPUTS, *PIXELS[way]), NUM_OUTPUTS, shape=(shape,), hidden_size=hidden, **options).to(dtype)


def put(net, index, layer):
    """Another layer in place of one with weights."""
    if isinstance(net, SpikingMLP):
        net.linears[index] = layer
    elif index == 0:
        net.convolutions[0] = layer
    else:
        net.linear = layer


def one_by_one(net):
    """The same network, its layers called one by one."""
    twin = copy.deepcopy(net)
    twin.kernel = "numba"
    return twin


def observations(dtype=torch.float64, num=2):
    shape = (num, BATCH, NUM_INPUTS, *PIXELS.get(way, ()))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def trained(net, tool, num_updates=3):
    """Apply the tool, then take a few updates by gradient descent; what was seen, or the error that ended it."""
    seen = Seen()
    torch.manual_seed(2)
    try:
        context = tool(net, seen.log)
        with context if hasattr(context, "__exit__") else nullcontext():
            for _ in range(num_updates):
                _update(net, seen)
    except Exception as error:  # which kind it is, is what is compared
        seen.error, seen.message = type(error), str(error)
    return seen


def _update(net, seen):
    inputs = observations().requires_grad_()
    state = torch.linspace(-1, 1, BATCH * net.state_size, dtype=torch.float64).view(BATCH, -1).requires_grad_()
    outputs, final = net(inputs, state, torch.tensor([[False] * BATCH, [True, False, False]]))
    seen.outputs += [outputs.detach(), final.detach()]
    net.zero_grad()
    if outputs.requires_grad:
        (outputs.sin().sum() + final.cos().sum()).backward()
    seen.gradients += [inputs.grad, state.grad, *(p.grad for p in net.parameters())]
    with torch.no_grad():
        for p in net.parameters():
            if p.grad is not None:
                p -= 0.05 * p.grad


def assert_same(actual, expected):
    """Values to 1e-9 of their scale (in double precision), which hooks were called with what, and the kind of error."""
    assert (actual.error, actual.message) == (expected.error, expected.message)
    assert actual.log == expected.log
    for name in ("outputs", "gradients"):
        pairs = list(zip(getattr(actual, name), getattr(expected, name), strict=True))
        assert [a is None for a, _ in pairs] == [b is None for _, b in pairs]
        for a, b in pairs:
            if b is not None:
                torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * max(1.0, float(b.detach().abs().max())))


class Fusions:
    """Counts how often the fused path is taken."""

    def __init__(self, monkeypatch):
        self.count = 0
        passes = stack._passes

        def counted(*args):
            self.count += 1
            return passes(*args)

        monkeypatch.setattr(stack, "_passes", counted)
