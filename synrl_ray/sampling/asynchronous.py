"""Env runners that sample while others learn: what they hand over, and the driver's side of asking them.

A fragment goes from its env runner to the learners by Ray's object store; the driver passes references on, of fragments
in one direction and of weights in the other.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import ray

from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.faults import guarded
from synrl_ray.sampling.metrics import log_seconds
from synrl_ray.sampling.rollout import Rollout

_METRICS_SECONDS = 0.1
"""For each env runner, between two of its reports of metrics: so many runners, so seldom."""
_LEAST_METRICS_SECONDS = 0.5
TAG = "fragments"
"""Of the requests among RLlib's."""


class Fragment(NamedTuple):
    """What learners get."""

    rollout: Rollout
    version: int
    """Updates that the weights had seen which acted."""
    runner: int
    """Index of the env runner."""


class Collected(NamedTuple):
    """What the driver gets."""

    fragment: ray.ObjectRef
    num_steps: int
    failures: tuple[int, str]
    """New failures of environments, and the last one's cause."""
    metrics: Any | None
    """Since the last ones; now and then only."""


class AsynchronousEnvRunner(BatchedEnvRunner):
    """Collects fragments with the newest weights that there were when each was asked for."""

    _version = 0
    _reported = 0.0

    def collect(self, weights: Mapping[str, Any] | None, version: int) -> Collected:
        """One fragment.

        Args:
            weights: state of the module; ``None`` to go on with those that are there.
            version: updates that they have seen.
        """
        if weights is not None:
            self.module.set_state(dict(weights))
            self._version = version
        rollout = self.sample()
        fragment = Fragment(rollout, self._version, self.worker_index)
        return Collected(ray.put(fragment), rollout.num_steps, self.failures.take(), self._metrics_now_and_then())

    def reseed(self, steps: int) -> None:
        """Start new episodes, with weights that count as the first ones of this process."""
        super().reseed(steps)
        self._version = 0

    def _add_last_values(self, rollout: Rollout, num_steps: int) -> None:
        """Only what followed the fragment: all else is valued by the weights that learn."""
        rollout.values[num_steps] = self._value()

    def _count_steps(self, num_steps: int) -> None:
        """Steps are counted by the driver, which knows of each fragment at once."""
        if not self.worker_index:
            super()._count_steps(num_steps)
            return
        log_seconds(self.metrics, self._seconds)
        self._seconds = dict.fromkeys(self._seconds, 0.0)
        self._own_steps += num_steps

    def _metrics_now_and_then(self) -> Any | None:
        now = time.monotonic()
        if now - self._reported < max(_LEAST_METRICS_SECONDS, _METRICS_SECONDS * self.config.num_env_runners):
            return None
        self._reported = now
        return self.get_metrics()


def ask(group: Any, weights: ray.ObjectRef | None, version: int, runners: Collection[int]) -> None:
    """Have env runners collect a fragment each, without waiting for it; those that are at it already are left alone.

    Args:
        group: RLlib's ``EnvRunnerGroup``.
        weights: by reference, for runners that lack them, and ``version``: of :meth:`AsynchronousEnvRunner.collect`.
        runners: their indices.
    """
    if runners:
        group._worker_manager.foreach_actor_async(
            _collect, tag=TAG, kwargs={"weights": weights, "version": version}, remote_actor_ids=list(runners)
        )


def _collect(runner: Any, weights: Any, version: int) -> Any:
    return guarded(runner, lambda: runner.collect(weights, version))
