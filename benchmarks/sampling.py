"""Environment steps per second, sampling and learning together, against stock RLlib and other libraries.

Run (``make bench-sampling``; Stable-Baselines3 and EnvPool come with the extra ``peers``):
    python benchmarks/sampling.py                              # CartPole against stock RLlib
    python benchmarks/sampling.py --peers                      # and against Stable-Baselines3 and EnvPool
    python benchmarks/sampling.py --env breakout car-racing --workers 0 --peers
    python benchmarks/sampling.py --env breakout --conv small  # the network of the experiment

Environment, algorithm and network are those of this project's experiments, the same for everyone:

    cartpole     PPO. Stock RLlib runs the same modules, spiking and not
    breakout     A2C, 16 games, the 'nature' network. Ours samples from the C++ vector environment, Stable-Baselines3
                 from its Atari wrappers. Stock RLlib has no A2C any more: it runs PPO with one epoch and one minibatch
                 on a batch of the same size
    car-racing   PPO, eight frames a decision. The others get the same wrapped environment with Gymnasium's drawing

Non-spiking policies see four stacked frames; of the spiking ones on frames the membranes are carried. Stock RLlib and
Stable-Baselines3 stack the frames in the environment. Only ours has spiking policies with carried membranes, and only
in CartPole is stock RLlib measured with a spiking one. Stable-Baselines3 samples in its own process (``DummyVecEnv``)
whatever ``--workers`` is. ``EnvPool`` is a PPO in the style of CleanRL on EnvPool's CartPole.

All are measured in turn, round by round, after one round of warm-up. Rates are medians over the rounds, ratios medians
of the ratios within a round. Below them stand the limits: the raw vector environment, and the network's passes alone.
Without workers this process keeps to one core, or to as many as ``--cores`` says, on which games of Atari are played
side by side; networks compute with one thread. Where other work shares the cores, ``--clock cpu`` counts the
seconds that this process computed in place of those that passed; it needs ``--workers 0``.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import sampling_limits
import sampling_peers
import sampling_rllib
import torch
from sampling_tasks import TASKS, Contender, Task

from synrl_ray.running.own_ray import own_ray

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
RATIOS = [
    ("ours spiking", "RLlib spiking"),
    ("ours ann", "RLlib ann"),
    ("ours ann", "SB3 ann"),
    ("ours spiking", "SB3 ann"),
    ("ours ann", "EnvPool ann"),
    ("ours spiking", "ours ann"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", nargs="+", choices=TASKS, default=["cartpole"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=6, help="rounds that are measured")
    parser.add_argument("--peers", action="store_true", help="also Stable-Baselines3 and EnvPool")
    parser.add_argument("--conv", choices=["nature", "small"], help="convolutions, if not those of the table above")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--cores", type=int, default=1, help="that this process keeps to where there are no workers")
    options = parser.parse_args()
    if options.clock == "cpu" and any(options.workers):
        parser.error("--clock cpu sees this process only: add --workers 0")
    torch.set_num_threads(1)
    for logger in ("ray", "ray.rllib"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with own_ray(num_cpus=1 + 4 * max(options.workers), object_store_memory=512 * 1024**2):
        for name in options.env:
            task = TASKS[name]().with_convolutions(options.conv)
            print(f"{name}: {task.title}; environment steps per second, sampling and learning")
            for workers in options.workers:
                if hasattr(os, "sched_setaffinity"):
                    os.sched_setaffinity(0, cores if workers else cores[: options.cores])
                compare(task, workers, options.iterations, peers=options.peers, clock=CLOCKS[options.clock])
            sampling_limits.report(task, CLOCKS[options.clock])


def compare(task: Task, workers: int, iterations: int, *, peers: bool, clock: Clock) -> None:
    """Measure all in turn and print rates and ratios."""
    makers: dict[str, Callable[[Task, int], Contender]] = dict(sampling_rllib.contenders(task))
    if peers:
        makers |= sampling_peers.contenders(task)
    running: dict[str, Contender] = {}
    for name, make in makers.items():
        try:
            running[name] = make(task, workers)
        except (ImportError, OSError) as error:
            print(f"{name}: not installed ({error}): uv pip install -c requirements.txt -e '.[peers]'")
    rounds: list[dict[str, float]] = []
    try:
        for iteration in range(1 + iterations):
            rates = {name: rate(contender, clock) for name, contender in running.items()}
            if iteration:
                rounds.append(rates)
    finally:
        for contender in running.values():
            contender.close()
    print(f"  {workers} workers")
    for name in running:
        print(f"    {name:<16}{statistics.median(rates[name] for rates in rounds):>10,.0f}")
    for ours, theirs in RATIOS:
        if theirs in running:
            ratio = statistics.median(rates[ours] / rates[theirs] for rates in rounds)
            print(f"    {ours + ' / ' + theirs:<32}{ratio:>6.2f}x", flush=True)


def rate(contender: Contender, clock: Clock) -> float:
    """Environment steps per second of one iteration."""
    began = clock()
    steps = contender.run()
    return steps / (clock() - began)


if __name__ == "__main__":
    main()
