"""Synapse updates per second of the learning rules, against BindsNET and plain vectorised torch. One thread, one table.

Run (BindsNET is optional: ``uv pip install --no-deps bindsnet``):
    python benchmarks/plasticity.py
    python benchmarks/plasticity.py --rate 0.05 --clock cpu     # one activity; computing time on a busy machine

Spikes of both layers are given, as are the rewards of every environment at every step, so that only traces, rule and
bounds are timed. An update is one synapse in one environment at one step: I * O * B * T of them a fragment. Ours is
what distributed learning uses, one change for the whole fragment, added at its end within the bounds; BindsNET changes
its weights at every step. No weight meets a bound, so that before the clock runs, the weights after the fragment must
be the same to 1e-6, the rounding of the weights, and 1e-5 of the largest change. Ours adds a vector for each
presynaptic spike, so that its speed depends on the activity.

    PostPre   pair STDP with nearest-neighbour traces, summed over the batch
    MSTDPET   pair STDP into eligibility traces, times the reward, summed over the batch (Florian 2007)

``torch`` is the same as ours in vectorised torch operations (our fallback). The C library is told to keep freed memory.
Contenders take turns, round by round, the faster ones after a call that is not timed; medians over the rounds, ratios
medians of the ratios within a round. BindsNET's MSTDPET lets a step's reward meet the eligibility of the step before,
so ours gets the rewards shifted by one step.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import plasticity_bindsnet
import torch
from snn import keep_freed_memory
from torch import Tensor

from synrl_ray.plasticity.bounds import apply_delta
from synrl_ray.plasticity.kernel_choice import Kernel
from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.plasticity.reward_modulated import initial_eligibility, reward_modulated_stdp
from synrl_ray.plasticity.stdp import stdp
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, WeightBounds

Learn = Callable[[], Tensor]
RULES = ("PostPre", "MSTDPET")
SIZES = ((100, 100), (784, 400))
NU = {"PostPre": (1e-3, 1e-3), "MSTDPET": (1e-3, 1e-3)}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def contenders(
    rule: str, size: tuple[int, int], batch: int, num_steps: int, rate: float, has_peer: bool
) -> dict[str, Learn]:
    """Who learns, each from the same weights, spikes and rewards."""
    g = torch.Generator().manual_seed(0)
    pre, post = ((torch.rand(num_steps, batch, n, generator=g) < rate).float() for n in size)
    weights, bounds = torch.rand(*size, generator=g), WeightBounds(w_min=-100.0, w_max=100.0)
    reward = torch.randn(num_steps, batch, generator=g)
    shifted = torch.cat((reward[1:], torch.zeros(1, batch)))
    nu = NU[rule]
    found: dict[str, Learn] = {}
    if rule == "PostPre":
        pair = PairSTDP(a_minus=nu[0], a_plus=nu[1], pairing="nearest")
        traces = initial_state(pair, batch, *size)

        def learned(kernel: Kernel) -> Tensor:
            delta, _ = stdp(pre, post, traces, pair, reduction="sum", kernel=kernel)
            return apply_delta(weights, delta, bounds)
    else:
        config = RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=1.0), tau_e=25.0, lr=nu[0] / 25.0)
        state = initial_eligibility(config, batch, *size)

        def learned(kernel: Kernel) -> Tensor:
            delta = reward_modulated_stdp(pre, post, shifted, state, config, reduction="sum", kernel=kernel).delta
            return apply_delta(weights, delta, bounds)

    found["ours"] = partial(learned, "numba")
    found["torch"] = partial(learned, "torch")
    if has_peer:
        limits = torch.tensor([bounds.w_min, bounds.w_max])
        found["BindsNET"] = plasticity_bindsnet.contender(rule, weights, pre, post, reward, nu, limits)
    expected = found["ours"]()
    change = (expected - weights).abs().max().item()
    for name, learn in found.items():
        difference = (learn() - expected).abs().max().item()
        if not difference <= 1e-6 + 1e-5 * change:
            raise SystemExit(
                f"{name} learns something else in {rule} {size}, batch {batch}, rate {rate}: off by {difference}"
            )
    if change < 1e-4:
        raise SystemExit(f"{rule} learns nothing: the comparison would be empty")
    return found


def measure(learners: dict[str, Learn], seconds: float, clock: Callable[[], float]) -> list[dict[str, float]]:
    """Seconds of a fragment for each, round by round."""
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 3:
        times = {}
        for name, learn in learners.items():
            if name not in ("BindsNET", "torch") or not rounds:
                learn()
            began = clock()
            learn()
            times[name] = clock() - began
        rounds.append(times)
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--steps", type=int, default=100, help="simulation steps of a fragment")
    parser.add_argument("--rate", nargs="+", type=float, default=[0.02, 0.06, 0.2], help="spikes per neuron and step")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time of a row; three rounds at least")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    peer = plasticity_bindsnet.load()
    print(f"{peer or 'BindsNET is absent: pip install --no-deps bindsnet'}; torch {torch.__version__}, one thread")
    print(f"T = {options.steps} steps; million synapse updates per second ({options.clock} clock)")
    header = f"{'rule':<9}{'I x O':>9}{'B':>4}{'rate':>6} |{'ours':>9}{'torch':>9}{'BindsNET':>10}"
    print(header + f" |{'ours/torch':>11}{'ours/BindsNET':>15}")
    for rule, size, batch, rate in itertools.product(options.rules, SIZES, options.batch, options.rate):
        learners = contenders(rule, size, batch, options.steps, rate, peer is not None)
        rounds = measure(learners, options.seconds, CLOCKS[options.clock])
        updates = size[0] * size[1] * batch * options.steps / 1e6
        speed = {name: statistics.median(updates / times[name] for times in rounds) for name in learners}
        ratio = {name: statistics.median(t[name] / t["ours"] for t in rounds) for name in learners}
        cells = "".join(
            f"{speed[name]:{width},.0f}" if name in speed else f"{'absent':>{width}}"
            for name, width in (("ours", 9), ("torch", 9), ("BindsNET", 10))
        )
        against = f"{ratio['BindsNET']:14.1f}x" if "BindsNET" in ratio else f"{'absent':>15}"
        row = f"{rule:<9}{size[0]:>5} x{size[1]:>3}{batch:>4}{rate:>6}"
        print(f"{row} |{cells} |{ratio['torch']:10.1f}x{against}", flush=True)


if __name__ == "__main__":
    main()
