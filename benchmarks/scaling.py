"""Environment steps per second with more env runners, and what each step costs the process that drives them.

Run (``make bench-scaling``):
    python benchmarks/scaling.py                                      # 0, 1 and 2 env runners of each experiment
    python benchmarks/scaling.py --env breakout --workers 0 1 2 4 --grow --learners 2
    python benchmarks/scaling.py --simulated 1 2 4 8                  # a simulated cluster, an env runner on each node

The experiments' spiking policies. Sampling and learning take turns, so with W env runners a step takes
``1 / (W r) + d`` seconds: r is the rate of one env runner, d what the driver does for each step: collecting,
advantages, learning, sending the weights back. ``efficiency`` is the rate over that of one env runner, divided by W;
``of sampling`` is the same without d. Rates are medians over the rounds; the configurations run in turn within each.
The environments of the experiment are divided among the env runners; with ``--grow`` each has as many, and the batch
grows. With ``--learners`` so many processes learn, where there is more than one env runner.

``--simulated`` adds nodes of one CPU each to a Ray cluster on this machine, places an env runner on each, and gives
every env runner the work that one has in the experiment, so the batch grows with them. The machine's cores are shared,
so rates say nothing; the driver's own CPU time and bytes for each step do, and from them follows, on paper, where the
driver has all hands full.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import numpy as np
import ray
import torch
from ray.cluster_utils import Cluster

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.cluster.private_ray import private_ray
from synrl_ray.experiment import A2C, Experiment
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.running.own_ray import own_ray

EXPERIMENTS = {"breakout": "breakout-a2c", "car-racing": "car-racing-ppo", "cartpole": "cartpole-ppo"}
PAPER = (10, 100, 1_000)


@dataclass
class Cost:
    """Of an iteration, or of each environment step."""

    seconds: float = 0.0
    sampling: float = 0.0
    """Seconds in which the driver waited for env runners."""
    collecting_cpu: float = 0.0
    """CPU seconds of the driver while samples came in, and the weights went out."""
    learning_cpu: float = 0.0
    """All its other CPU seconds."""
    received: float = 0.0
    """Bytes of samples."""
    sent: float = 0.0
    """Bytes of weights, to all env runners."""

    def per(self, steps: float) -> Cost:
        return Cost(*(value / steps for value in astuple(self)))


class Running:
    """A training whose driver is watched."""

    def __init__(self, experiment: Experiment, workers: int, learners: int = 0) -> None:
        scale = {"num_workers": workers, "num_learners": learners}
        self.algorithm: Any = algorithm_config(experiment, "spiking", seed=0, **scale).build_algo()
        self.workers, self.steps = workers, 0
        self.cost = Cost()
        self.algorithm._sample = self._watch(self.algorithm._sample, sampling=True)
        group = self.algorithm.env_runner_group
        group.sync_weights = self._watch(group.sync_weights, sampling=False)
        state = self.algorithm.get_module().state_dict()
        self.weight_bytes = sum(value.numel() * value.element_size() for value in state.values())

    def _watch(self, function: Callable[..., Any], *, sampling: bool) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            began, computed = time.perf_counter(), time.process_time()
            result = function(*args, **kwargs)
            if self.workers:  # else the driver samples itself
                self.cost.collecting_cpu += time.process_time() - computed
            if sampling:
                self.cost.sampling += time.perf_counter() - began
                self.cost.received += sum(_size(rollout) for rollout in result) if self.workers else 0
            else:
                self.cost.sent += self.weight_bytes * self.workers
            return result

        return watched

    def run(self) -> Cost:
        """One iteration's cost for each environment step."""
        self.cost = Cost()
        before, began, computed = self.steps, time.perf_counter(), time.process_time()
        self.steps = int(self.algorithm.train()["num_env_steps_sampled_lifetime"])
        self.cost.seconds = time.perf_counter() - began
        self.cost.learning_cpu = time.process_time() - computed - self.cost.collecting_cpu
        return self.cost.per(self.steps - before)

    def nodes(self) -> list[str]:
        """Where the env runners are."""
        return list(self.algorithm.env_runner_group.foreach_env_runner(_node, local_env_runner=False))

    def close(self) -> None:
        self.algorithm.stop()


def _node(_: Any) -> str:
    return str(ray.get_runtime_context().get_node_id())


def _size(rollout: Any) -> int:
    return sum(value.nbytes for value in vars(rollout).values() if isinstance(value, np.ndarray))


def measure(running: list[Running], rounds: int) -> list[Cost]:
    """Medians over the rounds, after one that does not count; in turn."""
    costs: list[list[Cost]] = [[] for _ in running]
    for number in range(1 + rounds):
        for own, training in zip(costs, running, strict=True):
            cost = training.run()
            if number:
                own.append(cost)
    return [Cost(*(statistics.median(values) for values in zip(*map(astuple, own), strict=True))) for own in costs]


def scale(name: str, workers: list[int], learners: int, grow: bool, rounds: int) -> None:
    """Real env runners on this machine."""
    experiment = get_experiment(EXPERIMENTS[name])
    assert isinstance(experiment, Experiment)
    with _ray(num_cpus=1 + sum(workers) + learners * len(workers)):
        running = [
            Running(_grown(experiment, max(1, n)) if grow else experiment, n, learners if n > 1 else 0) for n in workers
        ]
        costs = measure(running, rounds)
        for training in running:
            training.close()
    rate = {number: 1 / cost.seconds for number, cost in zip(workers, costs, strict=True)}
    sampling = {number: 1 / cost.sampling for number, cost in zip(workers, costs, strict=True)}
    print(f"{name}: environment steps per second on {os.cpu_count()} cores")
    titles = f"{'env runners':>12}{'steps/s':>10}{'efficiency':>12}{'sampling alone':>16}{'of sampling':>13}"
    print(f"{titles}{'driver ms/step':>16}")
    for number, cost in zip(workers, costs, strict=True):
        each = max(1, number)
        of_all = f"{rate[number] / rate[1] / each:.2f}" if 1 in rate else "-"
        of_sampling = f"{sampling[number] / sampling[1] / each:.2f}" if 1 in rate else "-"
        driver = 1e3 * (cost.seconds - cost.sampling)
        line = (
            f"{number:>12}{rate[number]:>10,.0f}{of_all:>12}{sampling[number]:>16,.0f}{of_sampling:>13}{driver:>16.3f}"
        )
        print(line, flush=True)


def simulate(name: str, sizes: list[int], rounds: int) -> None:
    """Nodes of a simulated cluster; the driver's share, and the paper's model from it."""
    experiment = get_experiment(EXPERIMENTS[name])
    assert isinstance(experiment, Experiment)
    print(f"{name}: a driver, and an env runner on each node")
    print(
        f"{'nodes':>6}{'with a runner':>15}{'batch':>8}{'collecting':>16}{'learning':>14}{'received':>14}{'sent':>14}"
    )
    costs = []
    for size in sizes:
        with _cluster(size):
            training = Running(_grown(experiment, size), size)
            (cost,) = measure([training], rounds)
            costs.append(cost)
            used = len(set(training.nodes()))
            training.close()
        settings = _grown(experiment, size).algorithm
        batch = (
            settings.num_steps * size * experiment.environment.num_envs
            if isinstance(settings, A2C)
            else getattr(settings, "train_batch_size", 0)
        )
        collecting, learning = 1e3 * cost.collecting_cpu, 1e3 * cost.learning_cpu
        print(
            f"{size:>6}{used:>15}{batch:>8,}{collecting:>9.3f} ms/step{learning:>6.3f} ms/step"
            f"{cost.received:>8,.0f} B/step{cost.sent:>8,.0f} B/step",
            flush=True,
        )
    with _ray(num_cpus=2):
        alone = Running(experiment, 1)
        (one,) = measure([alone], rounds)
        alone.close()
    paper(1 / one.sampling, costs[-1])


def paper(rate: float, cost: Cost) -> None:
    """How far env runners carry: ``1 / (1 / (W r) + d)``."""
    driver = cost.collecting_cpu + cost.learning_cpu
    print(f"on paper: an env runner alone samples {rate:,.0f} steps/s, the driver needs {1e3 * driver:.3f} ms a step")
    print(f"  as long as an env runner does with {1 / (rate * driver):.1f} of them; at most {1 / driver:,.0f} steps/s")
    for number in PAPER:
        total = 1 / (1 / (number * rate) + driver)
        learners = 1 / (1 / (number * rate) + cost.collecting_cpu)
        print(
            f"  {number:>5} env runners: {total:>9,.0f} steps/s, the driver busy {total * driver:.0%} of the time; "
            f"if learners took their part: {learners:,.0f} steps/s"
        )


def _grown(experiment: Experiment, times: int) -> Experiment:
    """As many environments and steps in a batch for each env runner as the experiment has in all."""
    sets = [f"num_envs={times * experiment.environment.num_envs}"]
    if not isinstance(experiment.algorithm, A2C):
        sets.append(f"train_batch_size={times * experiment.algorithm.train_batch_size}")
    return apply_overrides(experiment, sets)


@contextmanager
def _ray(num_cpus: int) -> Iterator[None]:
    _quiet()
    with own_ray(num_cpus=num_cpus, object_store_memory=512 * 1024**2):
        yield


@contextmanager
def _cluster(size: int) -> Iterator[None]:
    """A head without CPUs for env runners, and nodes with one CPU each."""
    _quiet()
    common = {"include_dashboard": False, "object_store_memory": 256 * 1024**2}
    with private_ray() as folder:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": str(folder), **common})
        try:
            for _ in range(size):
                cluster.add_node(num_cpus=1, object_store_memory=common["object_store_memory"])
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()


def _quiet() -> None:
    torch.set_num_threads(1)
    for logger in ("ray", "ray.rllib"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--simulated", type=int, nargs="+", metavar="NODES", help="a simulated cluster of so many nodes"
    )
    parser.add_argument("--grow", action="store_true", help="each env runner has the experiment's environments")
    parser.add_argument("--learners", type=int, default=0, help="processes that learn, with several env runners")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in options.env:
        if options.simulated:
            simulate(name, options.simulated, options.rounds)
        else:
            scale(name, options.workers, options.learners, options.grow, options.rounds)


if __name__ == "__main__":
    main()
