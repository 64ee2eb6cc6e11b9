"""Sampling and learning side by side (IMPALA) against taking turns, from one env runner to many, on two cores.

Run (part of ``make bench-scaling``):
    python benchmarks/asynchronous.py                            # replaying env runners, 1 to 32
    python benchmarks/asynchronous.py --env car-racing --runners 1 4
    python benchmarks/asynchronous.py --real                     # two real ones, wall clock, with stock RLlib's own

Replaying env runners return fragments that were recorded before, at a chosen rate, and compute nothing else: so two
cores stand for a cluster, of which the driver has one and the learner one. Each has the environments that the
experiment has in all (16 games, 8 cars). The asynchronous batch is what one of them collects, or as many as
``--fragments`` says; the synchronous batch is what all do. ``learner alone`` is the same learner on the same fragments
in this process, with nothing beside it.

    offered    environment steps that the env runners could deliver in a second, all together
    learned    steps that learners took in
    of alone   learned, over the smaller of what is offered and what the learner alone takes
    busy       share of the time in which the learner learned
    driver     CPU milliseconds of the driver's process for each environment step
    bytes      that the driver sent and received for each environment step, as Ray serialises them
    lag        updates between the weights that acted and those that learned, mean and most

``--real`` measures whole training: environment steps a second and CPU milliseconds a step of all processes, of the
synchronous and the asynchronous experiment in turn; with ``--stock`` of the non-spiking twins, and of stock RLlib's
IMPALA and APPO with the same network, which stack the frames in their environments.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import psutil
import ray
import torch
from ray._private.worker import global_worker
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env
from sampling_tasks import TASKS as SAMPLED

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.algorithms.impala import algorithm as impala
from synrl_ray.experiment import Experiment, PolicyKind
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.running.own_ray import own_ray
from synrl_ray.sampling.asynchronous import AsynchronousEnvRunner, Fragment
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.rollout import Rollout

TASKS = {"breakout": ("breakout-a2c", "breakout-impala"), "car-racing": ("car-racing-ppo", "car-racing-impala")}
RATES = {"breakout": 1200.0, "car-racing": 250.0}
"""Environment steps per second of a replaying env runner, about what a real one has."""
RECORDED = 2
STOCK = (IMPALAConfig, APPOConfig)


def replaying(base: type[BatchedEnvRunner], spaces: dict[str, Any], rate: float) -> type[BatchedEnvRunner]:
    """A class of env runners that return what they are given in ``recorded``, at ``rate`` steps per second each."""

    class Replaying(base):  # type: ignore[misc, valid-type]
        recorded: Sequence[Rollout] = ()
        due = 0.0
        number = 0

        def make_env(self) -> None:
            (observation, action), (one, act) = spaces["__env__"], spaces["__env_single__"]
            self.env = SimpleNamespace(
                observation_space=observation, action_space=action, single_observation_space=one,
                single_action_space=act, close=lambda: None,
            )  # fmt: skip
            self._env_reports_episodes = False

        def _restart(self, seed: Any) -> None:
            pass

        def sample(self, **kwargs: Any) -> Rollout:
            rollout = self.recorded[self.number % len(self.recorded)]
            self.number += 1
            now = time.perf_counter()
            self.due = max(self.due, now - 0.5) + rollout.num_steps / rate
            time.sleep(max(0.0, self.due - now))
            self._count_steps(rollout.num_steps)
            return rollout

        def set_state(self, state: dict[str, Any]) -> None:
            pass

        def collect(self, weights: Any, version: int) -> Any:
            self._version = version
            return super().collect(None, version)

    return Replaying


def made(name: str, runners: int, fragments: int) -> Experiment:
    """The experiment with its environments for each env runner, and so many fragments in a batch; 0: taking turns."""
    experiment = get_experiment(TASKS[name][bool(fragments)])
    assert isinstance(experiment, Experiment)
    of_each = experiment.environment.num_envs
    sets = [f"num_envs={of_each * max(1, runners)}"]
    if fragments:
        sets.append(f"envs_per_batch={of_each * fragments}")
    elif name == "car-racing":
        sets.append(f"train_batch_size={experiment.algorithm.train_batch_size * max(1, runners)}")  # type: ignore[union-attr]
    return apply_overrides(experiment, sets)


def record(name: str) -> tuple[list[Rollout], dict[str, Any]]:
    """Fragments of the experiment as its initial weights collect them, and the environments' spaces."""
    config = algorithm_config(made(name, 1, 1), "spiking", seed=0, num_workers=0)
    runner = AsynchronousEnvRunner(config=config, worker_index=0)
    rollouts = [runner.sample() for _ in range(RECORDED)]
    spaces = runner.get_spaces()
    runner.stop()
    return rollouts, spaces


def learner_alone(
    name: str, rollouts: Sequence[Rollout], spaces: dict[str, Any], seconds: float, fragments: int
) -> float:
    """Environment steps that a learner takes in a second, with nothing beside it."""
    config = algorithm_config(made(name, fragments, fragments), "spiking", seed=0, num_workers=0)
    learner: Any = config.build_learner(spaces=spaces)
    learner.build()
    rates, number = [], 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(rates) < 3:
        batch = [Fragment(rollouts[(number + i) % len(rollouts)], number, i) for i in range(fragments)]
        began = time.perf_counter()
        learner.update(training_data=TrainingData(episodes=batch), timesteps={})
        passed, number = time.perf_counter() - began, number + 1
        if number > 3:
            rates.append(sum(fragment.rollout.num_steps for fragment in batch) / passed)
    return statistics.median(rates)


class Bytes:
    """Counts what the driver hands to Ray and gets from it."""

    def __init__(self, algorithm: Any) -> None:
        self.total = 0
        if isinstance(algorithm, impala.ImpalaAlgorithm):
            self._watch(algorithm.faults, "collected", of_result=True)
            self._watch(algorithm, "_take")
            self._watch(algorithm.learner_group, "update")
            self._watch(impala, "ask")
        else:
            self._watch(algorithm.faults, "sample", of_result=True)
            group, state = algorithm.env_runner_group, algorithm.get_module().get_state()
            weights, original = self._size(state) * group.num_remote_env_runners(), group.sync_weights

            def sync(**kwargs: Any) -> Any:
                self.total += weights
                return original(**kwargs)

            group.sync_weights = sync

    def _watch(self, owner: Any, name: str, *, of_result: bool = False) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = [a for a in (*args, *kwargs.values()) if not hasattr(a, "_worker_manager")]
            self.total += self._size(result if of_result else given)
            return result

        setattr(owner, name, watched)

    @staticmethod
    def _size(value: Any) -> int:
        return int(global_worker.get_serialization_context().serialize(value).total_bytes)


def replay(
    name: str, runners: int, fragments: int, *, rate: float, seconds: float, recorded: Any, spaces: Any
) -> dict[str, Any]:
    """One configuration: rates, the driver's share, lag."""
    asynchronous = fragments > 0
    config = algorithm_config(
        made(name, runners, fragments), "spiking", seed=0, num_workers=runners,
        num_learners=int(asynchronous),
    )  # fmt: skip
    base = AsynchronousEnvRunner if asynchronous else BatchedEnvRunner
    config.env_runners(env_runner_cls=replaying(base, spaces, rate), num_cpus_per_env_runner=0)
    algorithm: Any = config.build_algo()

    def hand_over(runner: Any) -> None:
        runner.recorded = ray.get(recorded[0])

    algorithm.env_runner_group.foreach_env_runner(hand_over, local_env_runner=False)
    for _ in range(2):
        algorithm.train()
    rows: list[dict[str, Any]] = []
    learned = _learned(algorithm) if asynchronous else 0
    began, computed = time.perf_counter(), time.process_time()
    before = int(algorithm.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime")))
    while time.perf_counter() - began < seconds:
        rows.append(algorithm.train())
    passed, cpu = time.perf_counter() - began, time.process_time() - computed
    steps = int(rows[-1]["num_env_steps_sampled_lifetime"]) - before
    taken = (_learned(algorithm) - learned) * recorded[1] * fragments if asynchronous else steps
    counter, counted = Bytes(algorithm), 0
    while counted < 1 or counter.total == 0:
        again = int(algorithm.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime")))
        counted += int(algorithm.train()["num_env_steps_sampled_lifetime"]) - again
    algorithm.stop()
    of_rows = [row for row in rows if "learner_busy" in row]
    return {
        "env": name,
        "runners": runners,
        "asynchronous": asynchronous,
        "fragments": fragments,
        "offered": rate * runners,
        "learned": taken / passed,
        "busy": statistics.mean(float(row["learner_busy"]) for row in of_rows) if of_rows else None,
        "driver_ms": 1e3 * cpu / steps,
        "bytes": counter.total / counted,
        "lag_mean": statistics.mean(float(row["lag_mean"]) for row in of_rows) if of_rows else 0.0,
        "lag_max": max(float(row["lag_max"]) for row in of_rows) if of_rows else 0.0,
        "left_out": float(of_rows[-1]["num_fragments_left_out"]) if of_rows else 0.0,
    }


def _learned(algorithm: Any) -> int:
    """Batches that the learner has learned from."""
    (found,) = algorithm.learner_group.foreach_learner(lambda learner: learner.version)
    return int(found.get())


def replays(name: str, numbers: Sequence[int], seconds: float, fragments: int, out: Path | None) -> None:
    rollouts, spaces = record(name)
    spaces = {"__env__": spaces["__env__"], "__env_single__": spaces["__env_single__"]} | {
        key: value for key, value in spaces.items() if key not in ("__env__", "__env_single__")
    }
    mean_steps = statistics.mean(rollout.num_steps for rollout in rollouts)
    alone = learner_alone(name, rollouts, spaces, seconds, fragments)
    print(f"{name}: replaying env runners of {RATES[name]:,.0f} steps/s; the learner alone: {alone:,.0f} steps/s")
    print(
        f"{'':>6}{'runners':>9}{'offered':>10}{'learned':>10}{'of alone':>10}{'busy':>7}{'driver':>11}{'bytes':>9}  lag"
    )
    for number in numbers:
        for of_batch in (0, fragments):
            with _ray(num_cpus=3):
                recorded = (ray.put(rollouts), mean_steps)
                row = replay(
                    name, number, of_batch, rate=RATES[name], seconds=seconds, recorded=recorded, spaces=spaces
                )
            row["alone"] = alone
            of_alone = row["learned"] / min(row["offered"], alone)
            busy = "-" if row["busy"] is None else f"{row['busy']:.0%}"
            kind, lag = ("async", f"{row['lag_mean']:.1f} ({row['lag_max']:.0f})") if of_batch else ("turns", "-")
            print(
                f"{kind:>6}{number:>9}{row['offered']:>10,.0f}{row['learned']:>10,.0f}{of_alone:>10.2f}{busy:>7}"
                f"{row['driver_ms']:>8.4f} ms{row['bytes']:>9,.0f}  {lag}",
                flush=True,
            )
            if out is not None:
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def real(name: str, kind: PolicyKind, rounds: int, seconds: float, *, stock: bool) -> None:
    """Two real env runners: the synchronous and the asynchronous experiment, and stock RLlib's algorithms, in turn."""
    made: dict[str, Callable[[], Any]] = {
        experiment: partial(ours, experiment, kind, asynchronous) for asynchronous, experiment in enumerate(TASKS[name])
    }
    if stock:
        made |= {f"RLlib {of.__name__.removesuffix('Config')}": partial(theirs, name, of) for of in STOCK}
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for identity, make in made.items():
            with _ray(num_cpus=4):
                algorithm = make()
                algorithm.train()
                before, began, computed = _steps(algorithm), time.perf_counter(), _cpu()
                while time.perf_counter() - began < seconds:
                    algorithm.train()
                passed, steps = time.perf_counter() - began, _steps(algorithm) - before
                found.setdefault(identity, []).append((steps / passed, 1e3 * (_cpu() - computed) / steps))
                algorithm.stop()
    own, others = TASKS[name][1], list(made)
    for identity, values in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"  {identity:<20}{rate:>9,.0f} steps/s{cpu:>9.3f} ms of CPU a step, all processes")
    for other in others:
        if other != own:
            ratio = statistics.median(b[0] / a[0] for a, b in zip(found[other], found[own], strict=True))
            print(f"  {own} / {other}: {ratio:.2f}x, so {1 / ratio:.2f} of its wall time", flush=True)


def ours(identity: str, kind: PolicyKind, asynchronous: int) -> Any:
    """An experiment with two env runners."""
    experiment = get_experiment(identity)
    assert isinstance(experiment, Experiment)
    return algorithm_config(experiment, kind, seed=0, num_workers=2, num_learners=asynchronous).build_algo()


def theirs(name: str, of: type[IMPALAConfig]) -> Any:
    """Stock RLlib's IMPALA or APPO around the non-spiking twin, on environments that stack the frames."""
    task = SAMPLED[name]().with_convolutions("small")
    settings, environment = task.settings, task.experiment.environment
    policy = dataclasses.replace(task.experiment.ann, frame_stack=1)
    num_steps = getattr(settings, "num_steps", 256)
    register_env("benchmark", lambda _: task.make_stacked_environment())
    module = RLModuleSpec(module_class=ActorCriticModule, model_config=dataclasses.asdict(policy))
    config = (
        of()
        .environment("benchmark")
        .env_runners(
            num_env_runners=2, num_envs_per_env_runner=environment.num_envs // 2, rollout_fragment_length=num_steps
        )
        .learners(num_learners=1, num_aggregator_actors_per_learner=0)
        .training(
            lr=settings.lr,
            gamma=settings.gamma,
            train_batch_size_per_learner=num_steps * environment.num_envs,
            broadcast_interval=10,
        )
        .rl_module(rl_module_spec=module)
        .debugging(seed=0, log_level="ERROR")
    )
    return config.build_algo()


def _steps(algorithm: Any) -> int:
    return int(algorithm.metrics.peek(("env_runners", "num_env_steps_sampled_lifetime")))


def _cpu() -> float:
    """CPU seconds of this process and of all that it has started and that live."""
    own = psutil.Process()
    times = [process.cpu_times() for process in [own, *own.children(recursive=True)] if process.is_running()]
    return sum(one.user + one.system for one in times)


@contextmanager
def _ray(num_cpus: int) -> Iterator[None]:
    torch.set_num_threads(1)
    for logger in ("ray", "ray.rllib"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with own_ray(num_cpus=num_cpus, object_store_memory=1024**3):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--runners", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--fragments", type=int, default=1, help="of a batch")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--real", action="store_true", help="two real env runners")
    parser.add_argument("--stock", action="store_true", help="twins, and stock RLlib's algorithms beside them")
    parser.add_argument("--rounds", type=int, default=3, help="of the real ones")
    parser.add_argument("--out", type=Path, help="a file of rows to append to")
    options = parser.parse_args()
    for name in options.env:
        if options.real:
            print(f"{name}: two env runners, {os.cpu_count()} cores")
            kind: PolicyKind = "ann" if options.stock else "spiking"
            real(name, kind, options.rounds, options.seconds, stock=options.stock)
        else:
            replays(name, options.runners, options.seconds, options.fragments, options.out)


if __name__ == "__main__":
    main()
