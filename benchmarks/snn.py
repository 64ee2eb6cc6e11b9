"""How fast a training step and inference are, against the same network in other libraries. One thread, one table.

Run:
    python benchmarks/snn.py             # against snntorch
    python benchmarks/snn.py --peers     # and SpikingJelly and Norse, where they are installed
    python benchmarks/snn.py --sizes 784-256-10 --steps 25 --batch 64
    python benchmarks/snn.py --net mlp784        # an image classifier, as it is served
    python benchmarks/snn.py --net conv          # a convolutional one
    python benchmarks/snn.py --profile           # and where the time of our training step goes

Every contender gets the same weights, the same surrogate gradient and the same input, held for T steps; before the
clock runs, its outputs must equal ours to 1e-5. A training step is zero_grad, forward, a squared loss, backward. Blocks
of a few calls, each after one that is not timed, alternate between ours and theirs, and medians over blocks are
reported, so that a busy machine slows both. The C library is told to keep freed memory, which otherwise makes the
large cells of both a lottery of page faults. ``products`` is the time of the matrix products of a training step alone.
Gradients are set to None one by one, as an optimizer does it.

``--net conv`` is that of the snntorch tutorials on MNIST (convolutions of 12 and 64 channels with 5 x 5 kernels) with a
stride of 2 in place of pooling, and a spiking layer of 128 neurons in front of the readout.

Snntorch resets by subtraction one step after the spike. SpikingJelly and Norse reset at once, which is the same
recurrence only for a reset to zero: against them ours resets to zero, too. Their readout sums the spikes
with the powers of its decay, as ours does.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import ctypes
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from synrl_ray.snn import SpikingCNN, SpikingMLP, Surrogate, network_kernels, numba_kernels, stack_passes

BETA = 0.9
Forward = Callable[[Tensor], Tensor]
NETS = {  # network, simulation steps, batch sizes
    "mlp": ("4-64-64-2", [4, 16, 25], [1, 64, 256]),
    "mlp784": ("784-256-10", [1, 4], [1, 8, 64]),
    "conv": ("conv", [4, 16, 25], [1, 64, 256]),
}
CONV_LARGE_BATCH_STEPS = 4  # the convolutional network meets more than 64 images for no more steps than this


def snntorch_forward(layers: Sequence[nn.Module], shapes: Sequence[tuple[int, ...]], num_steps: int) -> Forward:
    import snntorch
    from snntorch import surrogate

    neurons = [snntorch.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=25)) for _ in layers[:-1]]
    neurons.append(snntorch.Leaky(beta=BETA, reset_mechanism="none"))

    def forward(inputs: Tensor) -> Tensor:
        membranes = [inputs.new_zeros(inputs.shape[0], *shape) for shape in shapes]
        for _ in range(num_steps):
            signal = inputs
            for i, (layer, neuron) in enumerate(zip(layers, neurons, strict=True)):
                signal, membranes[i] = neuron(layer(signal), membranes[i])
        return membranes[-1]

    return forward


def spikingjelly_forward(linears: Sequence[nn.Module], shapes: Sequence[tuple[int, ...]], num_steps: int) -> Forward:
    from spikingjelly.activation_based import functional, neuron, surrogate

    neurons = [
        neuron.LIFNode(
            tau=1 / (1 - BETA), decay_input=False, v_threshold=1.0, v_reset=0.0, step_mode="m",
            surrogate_function=surrogate.ATan(2.0),
        )
        for _ in linears[:-1]
    ]  # fmt: skip
    powers = BETA ** torch.arange(num_steps - 1, -1, -1.0)

    def forward(inputs: Tensor) -> Tensor:
        signal = inputs.expand(num_steps, *inputs.shape)
        for linear, layer in zip(linears[:-1], neurons, strict=True):
            functional.reset_net(layer)
            signal = layer(linear(signal))
        return torch.tensordot(powers, linears[-1](signal), 1)

    return forward


def norse_forward(linears: Sequence[nn.Module], shapes: Sequence[tuple[int, ...]], num_steps: int) -> Forward:
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    rate = 1 - BETA  # dt / tau_mem: the current is scaled by it, so it is divided out first
    p = LIFBoxParameters(
        tau_mem_inv=torch.tensor(rate), v_leak=torch.tensor(0.0), v_th=torch.tensor(1.0), v_reset=torch.tensor(0.0),
        method="super", alpha=torch.tensor(25.0),
    )  # fmt: skip

    def forward(inputs: Tensor) -> Tensor:
        states = [LIFBoxFeedForwardState(inputs.new_zeros(inputs.shape[0], *shape)) for shape in shapes]
        out = inputs.new_zeros(inputs.shape[0], *shapes[-1])
        for _ in range(num_steps):
            signal = inputs
            for i, linear in enumerate(linears[:-1]):
                signal, states[i] = lif_box_feed_forward_step(linear(signal) / rate, states[i], p, 1.0)
            out = BETA * out + linears[-1](signal)
        return out

    return forward


CONTENDERS = {  # what is imported, forward, and our settings that make it the same network
    "snntorch": ("snntorch", snntorch_forward, {"reset": "subtract", "surrogate": Surrogate("fast_sigmoid", 25)}),
    "spikingjelly": ("spikingjelly", spikingjelly_forward, {"reset": "zero", "surrogate": Surrogate("atan", 2)}),
    "norse": ("norse", norse_forward, {"reset": "zero", "surrogate": Surrogate("fast_sigmoid", 25)}),
}


def build(
    name: str, num_steps: int, settings: dict[str, Any]
) -> tuple[nn.Module, list[nn.Module], list[tuple[int, ...]], tuple[int, ...]]:
    """Our network, its layers with weights once more, the shapes of their membranes and the shape of an input."""
    torch.manual_seed(0)
    shared: dict[str, Any] = {"steps_per_observation": num_steps, "beta": BETA, "gain": 2.0, **settings}
    if name == "conv":
        convolutional = SpikingCNN((1, 28, 28), 10, shape=((12, 5, 2), (64, 5, 2)), hidden_size=128, **shared)
        weights = [*convolutional.convolutions, convolutional.linear, convolutional.readout.linear]
        layers: list[nn.Module] = [copy.deepcopy(layer) for layer in weights]
        layers[2] = nn.Sequential(nn.Flatten(), layers[2])
        return convolutional, layers, [*convolutional.map_shapes[1:], (128,), (10,)], (1, 28, 28)
    sizes = [int(n) for n in name.split("-")]
    net = SpikingMLP(sizes[0], sizes[1:-1], sizes[-1], **shared)
    copies = [copy.deepcopy(layer) for layer in [*net.linears, net.readout.linear]]
    return net, copies, [(n,) for n in sizes[1:]], (sizes[0],)


def training_step(modules: Sequence[nn.Module], forward: Forward, inputs: Tensor) -> Callable[[], None]:
    parameters = [p for module in modules for p in module.parameters()]

    def step() -> None:
        for p in parameters:
            p.grad = None
        forward(inputs).square().sum().backward()

    return step


def inference(forward: Forward, inputs: Tensor) -> Callable[[], None]:
    def step() -> None:
        with torch.no_grad():
            forward(inputs)

    return step


def products(
    layers: Sequence[nn.Module], shapes: Sequence[tuple[int, ...]], num_steps: int, batch: int
) -> Callable[[], None]:
    """The matrix products of one training step, or its convolutions, on signals that are there already."""
    jobs: list[Callable[[], object]] = []
    for i, layer in enumerate(layers):
        rows = batch if i in (0, len(layers) - 1) else batch * num_steps
        x = torch.rand(rows, *shapes[i])
        if isinstance(layer, nn.Linear):
            w, g = layer.weight.detach(), torch.randn(rows, layer.out_features)
            pairs = [(x, w.t()), (g.t(), x), (g, w)][: 3 if i > 0 else 2]
            jobs += [partial(torch.mm, a, b, out=torch.mm(a, b)) for a, b in pairs]
        else:
            wanted = [layer(x.requires_grad_(i > 0)), *layer.parameters(), *([x] if i > 0 else [])]
            jobs.append(partial(layer, x.detach()))
            jobs.append(partial(torch.autograd.grad, wanted[0], wanted[1:], torch.rand_like(wanted[0]), True))

    def run() -> None:
        for job in jobs:
            job()

    return run


def keep_freed_memory() -> None:
    """Let glibc hold on to freed memory, where there is a glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 30)


def alternate(
    functions: Sequence[Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median milliseconds per call of each by the clock, measured in alternating blocks for so many real seconds."""
    counts = []
    for function in functions:
        for _ in range(3):
            function()
        start = clock()
        function()
        counts.append(max(2, min(20, int(0.004 / (clock() - start)))))
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, count, blocks in zip(functions, counts, times, strict=True):
            function()
            start = clock()
            for _ in range(count):
                function()
            blocks.append((clock() - start) / count * 1e3)
    return [statistics.median(blocks) for blocks in times]


def shares(step: Callable[[], None], step_time: float, product_time: float, num_calls: int = 50) -> str:
    """Where the time of a training step goes: products measured alone, compiled kernels by a clock around them."""
    spent: dict[str, float] = {}

    def timed(kernel: Callable[..., None], kind: str) -> Callable[..., None]:
        def run(*args: Any) -> None:
            start = time.perf_counter()
            kernel(*args)
            spent[kind] = spent.get(kind, 0.0) + time.perf_counter() - start

        return run

    places = [(stack_passes, "scan", "scans"), (stack_passes, "scan_back", "scans")]
    places += [(numba_kernels, name, "scans") for name in ("forward", "backward")]
    places += [(network_kernels, name, "one compiled call") for name in ("forward", "backward")]
    with contextlib.ExitStack() as patches:
        for module, name, kind in places:
            patches.enter_context(mock.patch.object(module, name, timed(getattr(module, name), kind)))
        step()
        spent.clear()
        start = time.perf_counter()
        for _ in range(num_calls):
            step()
        total = time.perf_counter() - start
    parts = {kind: seconds / total for kind, seconds in spent.items()}
    if "scans" in parts:
        parts["products"] = product_time / step_time
    parts["rest"] = 1 - sum(parts.values())
    return ", ".join(f"{part} {100 * share:.0f} %" for part, share in parts.items())


def compare(
    contender: str, name: str, num_steps: int, batch: int, seconds: float, with_shares: bool
) -> tuple[float, float]:
    """Print one row of the table; return the two ratios."""
    _, build_forward, settings = CONTENDERS[contender]
    net, layers, shapes, in_shape = build(name, num_steps, settings)
    observations = torch.randn(1, batch, *in_shape)
    inputs = observations[0]
    theirs = build_forward(layers, shapes, num_steps)

    def ours(observations: Tensor) -> Tensor:
        return net(observations)[0]

    difference = (ours(observations)[0] - theirs(inputs)).abs().max().item()
    if difference > 1e-5:
        raise SystemExit(
            f"{contender} at T={num_steps}, B={batch} computes something else: outputs differ by {difference}"
        )
    our_step = training_step([net], ours, observations)
    alone = products(layers, [in_shape, *shapes], num_steps, batch)
    train_ours, train_theirs, limit = alternate([our_step, training_step(layers, theirs, inputs), alone], seconds)
    infer_ours, infer_theirs = alternate([inference(ours, observations), inference(theirs, inputs)], seconds / 2)
    train, infer = train_theirs / train_ours, infer_theirs / infer_ours
    print(
        f"{contender:<13}{num_steps:>3}{batch:>5} |{train_ours:9.3f}{train_theirs:9.3f}{train:7.1f}x"
        f"{limit:9.3f} |{infer_ours:9.3f}{infer_theirs:9.3f}{infer:7.1f}x",
        flush=True,
    )
    if with_shares:
        print(f"{'':21} | {shares(our_step, train_ours, limit)}", flush=True)
    return train, infer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also SpikingJelly and Norse")
    parser.add_argument("--net", choices=NETS, default="mlp", help="which network, with steps and batch sizes to match")
    parser.add_argument("--sizes", help="neurons of every layer of an MLP, for example 4-64-64-2")
    parser.add_argument("--steps", type=int, nargs="+", help="simulation steps T")
    parser.add_argument("--batch", type=int, nargs="+", help="batch sizes B")
    parser.add_argument("--profile", action="store_true", help="also the shares of a training step")
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time per training cell")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    name, steps, batches = NETS[args.net]
    name, steps, batches = args.sizes or name, args.steps or steps, args.batch or batches
    is_large = name == "conv"
    cells = [(t, b) for t in steps for b in batches if not is_large or b <= 64 or t <= CONV_LARGE_BATCH_STEPS]
    print(f"network {name}, torch {torch.__version__}, one thread, milliseconds")
    print(f"{'':21} |{'training step':^34} |{'inference':^26}")
    print(
        f"{'against':<13}{'T':>3}{'B':>5} |{'ours':>9}{'theirs':>9}{'ratio':>8}{'products':>9} |"
        f"{'ours':>9}{'theirs':>9}{'ratio':>8}"
    )
    for contender, (module, *_) in CONTENDERS.items():
        if contender != "snntorch" and (is_large or not args.peers):
            continue
        if importlib.util.find_spec(module) is None:
            print(f"{contender:<13} absent")
            continue
        ratios = [compare(contender, name, t, b, args.seconds, args.profile) for t, b in cells]
        train, infer = zip(*ratios, strict=True)
        print(
            f"{contender:<13} least {min(train):.1f}x in training, {min(infer):.1f}x in inference; geometric mean "
            f"{statistics.geometric_mean(train):.1f}x and {statistics.geometric_mean(infer):.1f}x"
        )


if __name__ == "__main__":
    main()
