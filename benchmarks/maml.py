"""Meta-iterations per second of MAML, against learn2learn and TorchOpt. One thread, one table.

Run (TorchOpt is optional: ``uv pip install torchopt``):
    python benchmarks/maml.py
    python benchmarks/maml.py --cases sinusoid --clock cpu      # computing time on a busy machine
    python benchmarks/maml.py --compile                         # also torch.compile; minutes, needs a C++ compiler

A meta-iteration is the meta-loss of a batch of tasks and its second-order gradient by all parameters, of one and of
five inner steps; optimizer and sampling are not in it. All contenders start from the same parameters and tasks, and
before the clock runs, their meta-gradients must agree in float64. (In float32 a rectifier or a pooled pixel near a tie
may go either way, in one library as in the other.)

    sinusoid  regression of 25 sinusoids, 10 samples each, 1-40-40-1 rectified (Finn et al. 2017)
    conv4     32 tasks of 5 classes, 1 image each of 28 x 28, four convolutional blocks of 64 filters, batch norm on
              each task's own statistics; noise in place of images: the arithmetic is the same

``ours`` is the engine "vmap"; ``singly`` the same with one task of conv4 at a time, for less memory; ``vmap`` without
the written-out inner gradient, as any other model gets;
``learn2learn`` and ``TorchOpt`` are the loops of those libraries' own MAML examples, which free each task's graph
before the next. Contenders take turns, round by round; medians over the rounds, ratios medians of the ratios within a
round. Peak memory is what a process of its own grows by during two meta-iterations (Linux).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch
from maml_peers import PEERS
from snn import keep_freed_memory
from torch import Tensor, nn

from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.networks import conv4, mlp
from synrl_ray.meta.sinusoids import SinusoidDistribution
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.meta.vmapped import VmappedNetwork
from synrl_ray.settings.maml import Maml

Gradients = Callable[[], list[Tensor]]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
INNER_LR = {"sinusoid": 0.01, "conv4": 0.4}
TASKS = {"sinusoid": 25, "conv4": 32}
CHUNKS = {"sinusoid": None, "conv4": 2}  # conv4's maps of two tasks fit the cache, those of 32 do not
SHORT = 0.1  # seconds; what takes less is timed after a call that is not, as caches hold others' data
OURS = ("ours", "singly", "vmap", "compiled")


def case(name: str) -> tuple[nn.Module, TaskBatch]:
    torch.manual_seed(0)
    num_tasks = TASKS[name]
    if name == "sinusoid":
        return mlp(), SinusoidDistribution(shots=10).sample("train", range(num_tasks))
    support, query = torch.rand(2, num_tasks, 5, 1, 28, 28)
    labels = torch.arange(5).expand(num_tasks, 5)
    return conv4(), TaskBatch(support, labels, query, labels, CrossEntropy(), tuple(range(num_tasks)))


def contender(name: str, case_name: str, steps: int, dtype: torch.dtype = torch.float32) -> Gradients:
    """A function that returns the meta-gradient."""
    model, batch = case(case_name)
    model, batch = model.to(dtype), batch.to(dtype)
    lr = INNER_LR[case_name]
    if name not in OURS:
        return PEERS[name](model, batch, lr, steps)
    chunk = 1 if name == "singly" else CHUNKS[case_name]
    maml = MamlModel(model, Maml(inner_lr=lr, inner_steps=steps, chunk_size=chunk, compile=name == "compiled"))
    if name == "vmap":
        maml._engine.body, maml._engine.network = None, VmappedNetwork(model)

    def gradients() -> list[Tensor]:
        maml.zero_grad()
        maml.outer_loss(batch)[0].backward()
        return [p.grad for p in maml.parameters()]

    return gradients


def grown(name: str, case_name: str, steps: int, answer: multiprocessing.Queue) -> None:
    """Peak memory of a meta-iteration in MB, in a process of its own."""
    torch.set_num_threads(1)
    gradients = contender(name, case_name, steps)
    before = _peak_kb(reset=True)
    for _ in range(2):
        gradients()
    answer.put((_peak_kb(reset=False) - before) / 1024)


def _peak_kb(reset: bool) -> int:
    """The highest resident memory of this process since the last reset."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def memory(name: str, case_name: str, steps: int) -> float:
    context = multiprocessing.get_context("fork")  # from a parent that has computed nothing yet
    answer = context.Queue()
    process = context.Process(target=grown, args=(name, case_name, steps, answer))
    process.start()
    grown_mb = answer.get()
    process.join()
    return grown_mb


def measure(contenders: dict[str, Gradients], seconds: float, clock: Callable[[], float]) -> list[dict[str, float]]:
    """Seconds of a meta-iteration for each, round by round."""
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 3:
        times = {}
        for name, gradients in contenders.items():
            if not rounds or rounds[-1][name] < SHORT:
                gradients()
            began = clock()
            gradients()
            times[name] = clock() - began
        rounds.append(times)
    return rounds


def agree(names: list[str], case_name: str, steps: int) -> None:
    gradients = {name: contender(name, case_name, steps, torch.float64)() for name in names}
    expected = gradients["learn2learn"]
    scale = max(g.abs().max().item() for g in expected)
    for name, found in gradients.items():
        worst = max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True)) / scale
        if not worst <= 1e-5:
            raise SystemExit(f"{name} has another meta-gradient in {case_name}: {worst} of the largest")


def contenders_of(case_name: str, options: argparse.Namespace) -> list[str]:
    compiled = ["compiled"] if options.compile and case_name == "sinusoid" else []
    peers = [name for name in PEERS if name == "learn2learn" or importlib.util.find_spec(name.lower())]
    singly = ["singly"] if CHUNKS[case_name] else []
    return ["ours", *singly, *compiled, *(["vmap"] if "vmap" in options.also else []), *peers]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=INNER_LR, default=list(INNER_LR))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 5], help="inner steps")
    parser.add_argument("--tasks", type=int, help="of a meta-batch, where those of the cases take too long")
    parser.add_argument("--also", nargs="*", choices=["vmap"], default=["vmap"], help="ours without the fast paths")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, on the sinusoid")
    parser.add_argument("--seconds", type=float, default=20.0, help="measuring time of a case; three rounds at least")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.tasks:
        TASKS.update(dict.fromkeys(TASKS, options.tasks))
    rows = [(c, steps, name) for c in options.cases for steps in options.steps for name in contenders_of(c, options)]
    peaks = {row: memory(row[2], row[0], row[1]) for row in rows}  # before this process takes memory itself
    print(f"torch {torch.__version__}, one thread, {options.clock} clock, second order\n")
    print("| case | inner steps | contender | meta-iterations/s | against learn2learn | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for case_name in options.cases:
        for steps in options.steps:
            names = contenders_of(case_name, options)
            contenders = {name: contender(name, case_name, steps) for name in names}
            agree([name for name in names if name != "compiled"], case_name, steps)
            rounds = measure(contenders, options.seconds, CLOCKS[options.clock])
            for name in contenders:
                rate = 1 / statistics.median(times[name] for times in rounds)
                ratio = statistics.median(times["learn2learn"] / times[name] for times in rounds)
                peak = peaks[case_name, steps, name]
                print(f"| {case_name} | {steps} | {name} | {rate:.2f} | {ratio:.2f}x | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
