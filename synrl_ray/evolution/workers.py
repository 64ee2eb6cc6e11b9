"""A generation that is shared by Ray workers: each is sent numbers of pairs, and answers with their returns.

The genes go to each node once a generation, by Ray's object store. A request is a reference to them and some numbers,
an answer the returns of each pair. Workers remember nothing, so that a lost one costs its evaluations: another does
them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from synrl_ray.errors import is_death, worker_died
from synrl_ray.evolution.individuals import Evaluated, Individuals
from synrl_ray.evolution.strategy import Strategy
from synrl_ray.settings.evolution import EvolutionExperiment
from synrl_ray.settings.policy_kinds import PolicyKind

_MOST_RESTARTS = 10
"""Of workers, in one generation: more are no accident."""
_AHEAD = 2
"""Requests that a worker has at a time, so that it never waits for the next."""


class Generations:
    """The driver's view of the workers.

    Args:
        experiment, policy, seed: as of :class:`~synrl_ray.evolution.individuals.Individuals`.
        num_workers: processes of their own; 0 evaluates in the driver.

    Attributes:
        restarts: workers that died and were replaced, so far.
    """

    def __init__(self, experiment: EvolutionExperiment, policy: PolicyKind, seed: int, num_workers: int) -> None:
        self._make = experiment, policy, seed
        self.num_pairs, self.restarts = experiment.algorithm.num_pairs, 0
        self._at_once = max(1, experiment.environment.num_envs // (2 * experiment.algorithm.num_episodes))
        self._local = None if num_workers else Individuals(*self._make)
        self._workers = [self._start() for _ in range(num_workers)]

    def evaluate(self, strategy: Strategy) -> Evaluated:
        """All individuals of the strategy's present generation, in the order of their pairs.

        Raises:
            UserError: if workers die again and again, or an environment fails.
        """
        parts = [
            range(first, min(first + self._at_once, self.num_pairs))
            for first in range(0, self.num_pairs, self._at_once)
        ]
        when = strategy.sigma, strategy.generation
        if self._local is not None:
            found = [self._local.evaluate(strategy.genes, *when, pairs) for pairs in parts]
        else:
            found = self._shared(ray.put(strategy.genes), when, parts)
        returns = np.concatenate([each.returns for each in found])
        return Evaluated(returns, sum(each.env_steps for each in found), sum(each.episodes for each in found))

    def _shared(self, genes: Any, when: tuple[float, int], parts: list[range]) -> list[Evaluated]:
        waiting, restarts = deque(range(len(parts))), 0
        busy: dict[Any, tuple[int, int]] = {}  # request → worker and part
        found: dict[int, Evaluated] = {}
        load = [0] * len(self._workers)
        while len(found) < len(parts):
            while waiting and min(load) < _AHEAD:
                worker, part = load.index(min(load)), waiting.popleft()
                load[worker] += 1
                busy[self._workers[worker].evaluate.remote(genes, *when, parts[part])] = worker, part
            (done,), _ = ray.wait(list(busy))
            worker, part = busy.pop(done)
            load[worker] -= 1
            try:
                found[part] = ray.get(done)
            except RayError as error:
                if not is_death(error):
                    raise
                lost = {request: at for request, (at, _) in busy.items() if at == worker}
                waiting.extend([part, *(busy.pop(request)[1] for request in lost)])
                load[worker], restarts = 0, restarts + 1
                if restarts > _MOST_RESTARTS:
                    raise worker_died() from error
                self._workers[worker] = self._start()
        self.restarts += restarts
        return [found[part] for part in range(len(parts))]

    def close(self) -> None:
        """End the workers."""
        if self._local is not None:
            self._local.close()
        for worker in self._workers:
            ray.kill(worker)

    def _start(self) -> Any:
        return ray.remote(num_cpus=1)(Individuals).remote(*self._make)
