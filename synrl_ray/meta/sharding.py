"""Meta-gradients of a meta-batch that is shared by Ray workers; one that dies is replaced and its share done again.

Workers remember nothing from one meta-iteration to the next: they are sent the parameters and the seeds of their tasks.
So the gradient is the same for any number of workers, but for the rounding of a sum taken in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from torch import Tensor

from synrl_ray.errors import is_death, worker_died
from synrl_ray.meta.environment_tasks import EnvironmentBatch, EnvironmentDistribution
from synrl_ray.meta.families import family_of
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.meta_learner import MetaLearner
from synrl_ray.meta.tasks import TaskBatch, TaskDistribution
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import AnyTasks, Learner
from synrl_ray.snn.device import compute_alone, learning_device

_MOST_RESTARTS = 10
"""Of workers, in one meta-iteration: more are no accident."""


@dataclass(frozen=True)
class ShardResult:
    """Of the tasks of a shard, sums."""

    num_tasks: int
    gradients: list[Tensor]
    loss: float
    """Of the outer losses."""
    figures: dict[str, float]
    """Of what else is known of each task, by name, such as the accuracy after the last inner step."""


class Shard:
    """Tasks and a learner, in the driver or in a worker of its own, on a GPU where it has a share of one.

    What comes and goes is on the CPU. Tasks and learner are made when they are first needed: what an actor's
    constructor raises, Ray hands on as its death.
    """

    def __init__(self, tasks: AnyTasks, learner: Learner, maml: Maml | MamlRl, gpus: float = 0.0) -> None:
        compute_alone()
        self._settings = tasks, learner, maml
        self._gpus = gpus

    @cached_property
    def tasks(self) -> TaskDistribution | PlayedGridworlds | EnvironmentDistribution:
        """Where the seeds' tasks come from."""
        return family_of(self._settings[0]).distribution()

    @cached_property
    def maml(self) -> MetaLearner:
        """Whose gradients are computed."""
        tasks, learner, maml = self._settings
        return family_of(tasks).meta_learner(learner, maml).to(self.device)

    @cached_property
    def device(self) -> torch.device:
        """Where they are."""
        return learning_device(self._gpus)

    def gradients(
        self,
        weights: Mapping[str, Tensor],
        seeds: Sequence[int],
        iteration: int,
        behaviour: Mapping[str, Tensor] | None = None,
    ) -> ShardResult:
        """The meta-gradients of training tasks at these weights.

        ``behaviour`` are the weights of the meta-iteration's first meta-step, in later ones.

        Raises:
            NonFiniteError: for a loss that is not finite; it names the task's seed.
        """
        self.maml.load_state_dict(weights)
        self.maml.zero_grad()
        if behaviour is not None:
            behaviour = {name: tensor.to(self.device) for name, tensor in behaviour.items()}
        batch = self.tasks.sample("train", seeds)
        batch = batch.to(self.device) if isinstance(batch, TaskBatch) else batch  # others are played on the CPU
        with closing(batch) if isinstance(batch, EnvironmentBatch) else nullcontext():
            loss, figures = self.maml.meta_loss(batch, iteration, behaviour)
        loss.backward()
        count = len(seeds)
        return ShardResult(
            count,
            [(torch.zeros_like(p) if p.grad is None else p.grad * count).cpu() for p in self.maml.parameters()],
            loss.item() * count,
            {name: float(values.sum()) for name, values in figures.items()},
        )


class Shards:
    """The driver's view of the workers.

    Args:
        make: arguments of :class:`Shard`.
        num_workers: processes of their own; 0 computes in the driver.
        gpus: of each process that computes.

    Attributes:
        restarts: workers that died and were replaced, so far.
    """

    def __init__(self, make: tuple[Any, ...], num_workers: int, gpus: float = 0.0) -> None:
        self._make, self._gpus = (*make, gpus), gpus
        self.restarts = 0
        self._local = None if num_workers else Shard(*self._make)
        self._workers = [self._start() for _ in range(num_workers)]

    def gradients(
        self,
        weights: Mapping[str, Tensor],
        seeds: Sequence[int],
        iteration: int,
        behaviour: Mapping[str, Tensor] | None = None,
    ) -> ShardResult:
        """The sum over all tasks, always in the order of the workers.

        Raises:
            UserError: if workers die again and again, or lack the data.
        """
        if self._local is not None:
            return self._local.gradients(weights, seeds, iteration, behaviour)
        sent = ray.put(dict(weights)), None if behaviour is None else ray.put(dict(behaviour))
        parts = [list(seeds[w :: len(self._workers)]) for w in range(len(self._workers))]
        busy = {w: self._send(w, sent, part, iteration) for w, part in enumerate(parts) if part}
        results: dict[int, ShardResult] = {}
        restarts = 0
        while len(results) < len(busy):
            for w in [w for w in busy if w not in results]:
                try:
                    results[w] = ray.get(busy[w])
                except RayError as error:
                    if not is_death(error):
                        raise
                    restarts += 1
                    if restarts > _MOST_RESTARTS:
                        raise worker_died() from error
                    self._workers[w] = self._start()
                    busy[w] = self._send(w, sent, parts[w], iteration)
        self.restarts += restarts
        return _sum([results[w] for w in sorted(results)])

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            ray.kill(worker)

    def _start(self) -> Any:
        return ray.remote(num_cpus=1, num_gpus=self._gpus)(Shard).remote(*self._make)

    def _send(self, worker: int, weights: tuple[Any, Any], seeds: Sequence[int], iteration: int) -> Any:
        now, behaviour = weights
        return self._workers[worker].gradients.remote(now, seeds, iteration, behaviour)


def _sum(results: Sequence[ShardResult]) -> ShardResult:
    return ShardResult(
        sum(r.num_tasks for r in results),
        [torch.stack(parts).sum(0) for parts in zip(*(r.gradients for r in results), strict=True)],
        sum(r.loss for r in results),
        {name: sum(r.figures[name] for r in results) for name in results[0].figures},
    )
