"""How fast a training step and inference are, against the same network in other libraries. One thread, one table.

Run:
    python benchmarks/snn.py             # against snntorch
    python benchmarks/snn.py --peers     # and SpikingJelly and Norse, where they are installed
    python benchmarks/snn.py --sizes 784-256-10 --steps 25 --batch 64

Every contender gets the same weights, the same surrogate gradient and the same input, held for T steps; before the
clock runs, its outputs must equal ours to 1e-5. A training step is zero_grad, forward, a squared loss, backward. Blocks
of a few calls, each after one that is not timed, alternate between ours and theirs, and medians over blocks are
reported, so that a busy machine slows both. The C library is told to keep freed memory, which otherwise makes the
large cells of both a lottery of page faults. ``products`` is the time of the matrix products of a training step alone.

Snntorch resets by subtraction one step after the spike. SpikingJelly and Norse reset at once, which is the same
recurrence only for a reset to zero: against them ours resets to zero, too. Their readout sums the spikes
with the powers of its decay, as ours does.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from synrl_ray.snn import SpikingMLP, Surrogate

BETA = 0.9
Forward = Callable[[Tensor], Tensor]


def snntorch_forward(net: SpikingMLP, linears: Sequence[nn.Module], num_steps: int) -> Forward:
    import snntorch
    from snntorch import surrogate

    neurons = [snntorch.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=25)) for _ in linears[:-1]]
    neurons.append(snntorch.Leaky(beta=BETA, reset_mechanism="none"))

    def forward(inputs: Tensor) -> Tensor:
        membranes = [torch.zeros(inputs.shape[0], linear.out_features) for linear in linears]
        for _ in range(num_steps):
            signal = inputs
            for i, (linear, neuron) in enumerate(zip(linears, neurons, strict=True)):
                signal, membranes[i] = neuron(linear(signal), membranes[i])
        return membranes[-1]

    return forward


def spikingjelly_forward(net: SpikingMLP, linears: Sequence[nn.Module], num_steps: int) -> Forward:
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


def norse_forward(net: SpikingMLP, linears: Sequence[nn.Module], num_steps: int) -> Forward:
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    rate = 1 - BETA  # dt / tau_mem: the current is scaled by it, so it is divided out first
    p = LIFBoxParameters(
        tau_mem_inv=torch.tensor(rate), v_leak=torch.tensor(0.0), v_th=torch.tensor(1.0), v_reset=torch.tensor(0.0),
        method="super", alpha=torch.tensor(25.0),
    )  # fmt: skip

    def forward(inputs: Tensor) -> Tensor:
        states = [LIFBoxFeedForwardState(torch.zeros(inputs.shape[0], linear.out_features)) for linear in linears]
        out = torch.zeros(inputs.shape[0], linears[-1].out_features)
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


def training_step(modules: Sequence[nn.Module], forward: Forward, inputs: Tensor) -> Callable[[], None]:
    def step() -> None:
        for module in modules:
            module.zero_grad()
        forward(inputs).square().sum().backward()

    return step


def inference(forward: Forward, inputs: Tensor) -> Callable[[], None]:
    def step() -> None:
        with torch.no_grad():
            forward(inputs)

    return step


def products(sizes: Sequence[int], num_steps: int, batch: int) -> Callable[[], None]:
    """The matrix products of one training step into memory that is there already."""
    jobs = []
    for layer, (i, o) in enumerate(pairwise(sizes)):
        rows = batch if layer in (0, len(sizes) - 2) else batch * num_steps
        x, g, w = torch.rand(rows, i), torch.randn(rows, o), torch.randn(o, i)
        jobs += [(x, w.t(), torch.empty(rows, o)), (g.t(), x, torch.empty(o, i))]
        if layer > 0:
            jobs.append((g, w, torch.empty(rows, i)))

    def run() -> None:
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return run


def keep_freed_memory() -> None:
    """Let glibc hold on to freed memory, where there is a glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 30)


def alternate(functions: Sequence[Callable[[], None]], seconds: float) -> list[float]:
    """Median milliseconds per call of each, measured in alternating blocks."""
    counts = []
    for function in functions:
        for _ in range(3):
            function()
        start = time.perf_counter()
        function()
        counts.append(max(2, min(20, int(0.004 / (time.perf_counter() - start)))))
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, count, blocks in zip(functions, counts, times, strict=True):
            function()
            start = time.perf_counter()
            for _ in range(count):
                function()
            blocks.append((time.perf_counter() - start) / count * 1e3)
    return [statistics.median(blocks) for blocks in times]


def compare(name: str, sizes: Sequence[int], num_steps: int, batch: int, seconds: float) -> tuple[float, float]:
    """Print one row of the table; return the two ratios."""
    _, build, settings = CONTENDERS[name]
    torch.manual_seed(0)
    net = SpikingMLP(sizes[0], sizes[1:-1], sizes[-1], steps_per_observation=num_steps, beta=BETA, gain=2.0, **settings)
    linears = [nn.Linear(i, o) for i, o in pairwise(sizes)]
    for own, linear in zip(linears, [*net.linears, net.readout.linear], strict=True):
        own.load_state_dict(linear.state_dict())
    inputs_EBF = torch.randn(1, batch, sizes[0])
    inputs = inputs_EBF[0]
    theirs = build(net, linears, num_steps)

    def ours(inputs_EBF: Tensor) -> Tensor:
        return net(inputs_EBF)[0]

    difference = (ours(inputs_EBF)[0] - theirs(inputs)).abs().max().item()
    if difference > 1e-5:
        raise SystemExit(f"{name} at T={num_steps}, B={batch} computes something else: outputs differ by {difference}")
    train_ours, train_theirs, limit = alternate(
        [
            training_step([net], ours, inputs_EBF),
            training_step(linears, theirs, inputs),
            products(sizes, num_steps, batch),
        ],
        seconds,
    )
    infer_ours, infer_theirs = alternate([inference(ours, inputs_EBF), inference(theirs, inputs)], seconds / 2)
    print(
        f"{name:<13}{num_steps:>3}{batch:>5} |{train_ours:9.3f}{train_theirs:9.3f}{train_theirs / train_ours:7.1f}x"
        f"{limit:9.3f} |{infer_ours:9.3f}{infer_theirs:9.3f}{infer_theirs / infer_ours:7.1f}x",
        flush=True,
    )
    return train_theirs / train_ours, infer_theirs / infer_ours


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also SpikingJelly and Norse")
    parser.add_argument("--sizes", default="4-64-64-2", help="neurons of every layer")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16, 25], help="simulation steps T")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64, 256], help="batch sizes B")
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time per training cell")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sizes = [int(n) for n in args.sizes.split("-")]
    print(f"network {args.sizes}, torch {torch.__version__}, one thread, milliseconds")
    print(f"{'':21} |{'training step':^34} |{'inference':^26}")
    print(
        f"{'against':<13}{'T':>3}{'B':>5} |{'ours':>9}{'theirs':>9}{'ratio':>8}{'products':>9} |"
        f"{'ours':>9}{'theirs':>9}{'ratio':>8}"
    )
    for name, (module, *_) in CONTENDERS.items():
        if name != "snntorch" and not args.peers:
            continue
        if importlib.util.find_spec(module) is None:
            print(f"{name:<13} absent")
            continue
        ratios = [compare(name, sizes, t, b, args.seconds) for t in args.steps for b in args.batch]
        train, infer = zip(*ratios, strict=True)
        print(
            f"{name:<13} least {min(train):.1f}x in training, {min(infer):.1f}x in inference; geometric mean "
            f"{statistics.geometric_mean(train):.1f}x and {statistics.geometric_mean(infer):.1f}x"
        )


if __name__ == "__main__":
    main()
