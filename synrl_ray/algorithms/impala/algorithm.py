"""Importance-weighted actor-learner: env runners sample and learners learn, each without waiting for the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from synrl_ray.algorithms.impala.learner import Learned
from synrl_ray.algorithms.on_policy.algorithm import OnPolicyAlgorithm
from synrl_ray.errors import worker_died
from synrl_ray.sampling.asynchronous import TAG, Collected, Fragment, ask
from synrl_ray.sampling.metrics import SECONDS
from synrl_ray.sampling.rollout import Rollout

BATCHES_AT_LEARNERS = 2
"""One that is learned from, and one that waits: with fewer, learners would wait for the driver."""
_STEPS_PER_ROW = 2000
_WAIT_SECONDS = 1.0


class ImpalaAlgorithm(OnPolicyAlgorithm):
    """Env runners are asked for fragments as long as learners can take them; so many as there are env runners make a
    batch, whoever they are of, and the oldest is learned from first.

    Fragments and weights pass by reference. A batch waits for :data:`BATCHES_AT_LEARNERS` at most, which bounds the
    lag between the weights that act and those that learn; env runners that are much slower than the others exceed it.
    Without env runners in processes of their own sampling and learning take turns, and there is no lag.
    """

    def setup(self, config: Any) -> None:
        """RLlib's constructor."""
        super().setup(config)
        self._waiting: deque[ray.ObjectRef] = deque()
        self._weights: ray.ObjectRef | None = None
        self._version = 0
        self._versions: dict[int, int] = {}
        """Of the weights that each env runner has been given."""
        self._row = _Row()
        self._slow: set[int] = set()

    # --- RLlib's interface -----------------------------------------------------------------------------------

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> Any:
        """The module of this process, with the newest weights."""
        if self._weights is not None and self._versions.get(0) != self._version:
            self.env_runner.module.set_state(ray.get(self._weights))
            self._versions[0] = self._version
        return super().get_module(module_id)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds."""
        scales = self.learner_group.foreach_learner(lambda learner: learner.return_scale.get_state())
        self.return_scale.set_state(next(iter(scales)).get())
        return super().get_state(*args, **kwargs)

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`."""
        super().set_state(state)
        scale = self.return_scale.get_state()
        self.learner_group.foreach_learner(lambda learner: learner.return_scale.set_state(scale))

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Give runners that Ray has restarted new episodes, and with the next request weights; RLlib calls this."""
        restarted = super().restore_env_runners(env_runner_group)
        for index in restarted:
            self._versions.pop(index, None)
        return restarted

    def training_step(self) -> None:
        """Pass fragments and weights on until there is enough for a row of metrics."""
        if not self.env_runner_group.num_remote_env_runners():
            super().training_step()
            return
        self._calibrate()
        row = self._row = _Row()
        while row.steps < _STEPS_PER_ROW or not row.batches:
            self._ask()
            requests = self.env_runner_group._worker_manager, self.learner_group._worker_manager
            ray.wait(
                [ref for manager in requests for ref in manager._in_flight_req_to_actor_id],
                timeout=_WAIT_SECONDS,
                fetch_local=False,
            )
            self._gather()
            self._take(self._fetched())
            self._send()
        self._log(row)

    # --- env runners -----------------------------------------------------------------------------------------

    def _sample(self) -> list[Rollout]:
        """What every runner collected: for calibration, and where all is in this process."""
        rollouts: list[Rollout] = super()._sample()
        if self.env_runner_group.num_remote_env_runners():
            self._count(sum(rollout.num_steps for rollout in rollouts))
        return rollouts

    def _ask(self) -> None:
        """Have those collect that are not at it, if learners can take more."""
        if self._at_learners() >= BATCHES_AT_LEARNERS:
            return
        manager = self.env_runner_group._worker_manager
        healthy = [i for i in manager.healthy_actor_ids() if not _is_asked(manager, i)]
        newest = [i for i in healthy if self._weights is None or self._versions.get(i) == self._version]
        ask(self.env_runner_group, None, self._version, newest)
        others = [i for i in healthy if i not in newest]
        ask(self.env_runner_group, self._weights, self._version, others)
        self._versions |= dict.fromkeys(others, self._version)

    def _gather(self) -> None:
        found: list[tuple[int, Collected]] = self.faults.collected(self.env_runner_group, TAG)
        for _, collected in found:
            self._waiting.append(collected.fragment)
            self._row.steps += collected.num_steps
        self._count(sum(collected.num_steps for _, collected in found))
        metrics = [collected.metrics for _, collected in found if collected.metrics is not None]
        if metrics:
            self.metrics.aggregate(metrics, key=ENV_RUNNER_RESULTS)
        self._count_failures([collected.failures for _, collected in found])

    def _count(self, num_steps: int) -> None:
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), num_steps, reduce="lifetime_sum", with_throughput=True
        )

    # --- learners --------------------------------------------------------------------------------------------

    def _at_learners(self) -> int:
        """Batches that they have not finished."""
        return int(self.learner_group._worker_manager.num_outstanding_async_reqs()) // int(self.config.num_learners)

    def _send(self) -> None:
        """Give learners what makes a whole batch, as long as they can take it."""
        size = self.env_runner_group.num_remote_env_runners()
        while len(self._waiting) >= size and self._at_learners() < BATCHES_AT_LEARNERS:
            batch = [self._waiting.popleft() for _ in range(size)]
            try:
                done = self.learner_group.update(
                    training_data=TrainingData(batch_refs=batch),
                    timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
                    async_update=True,
                )
            except RayError as error:
                raise self._cause(error) from error
            self._take(done)

    def _fetched(self) -> list[Learned]:
        results = self.learner_group._worker_manager.fetch_ready_async_reqs(timeout_seconds=0.0)
        try:
            return list(self.learner_group._get_results(results))
        except RayError as error:
            raise self._cause(error) from error

    def _cause(self, error: Exception) -> Exception:
        is_dead = self.learner_group._worker_manager.num_healthy_actors() < self.config.num_learners
        return worker_died() if is_dead and isinstance(error, ray.exceptions.RayActorError) else error

    def _learn_from(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Learn in this process, from what was collected in it."""
        (done,) = self.learner_group.update(
            training_data=TrainingData(episodes=[Fragment(rollout, self._version, 0) for rollout in rollouts]),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
        )
        self._version = done.version
        return [done.metrics]

    def _take(self, results: Sequence[Learned]) -> None:
        """Note what learners have done."""
        row = self._row
        for done in results:
            if done.weights is not None:
                self._weights, self._version = done.weights, done.version
                row.batches += 1
            row.lags += done.lags
            row.seconds += done.seconds
            row.too_old += len(done.too_old)
            row.lost += done.num_lost
            if done.metrics is not None:
                self.metrics.aggregate([done.metrics], key=LEARNER_RESULTS)
            if done.rates is not None:
                self.activity.found(done.rates)
            for index in set(done.too_old) - self._slow:
                self._slow.add(index)
                self.activity.tell(
                    f"env runner {index} is too slow: more than {self.config.settings.max_lag} updates lay between its "
                    "weights and those that were to learn from what it collected, which is left out (set max_lag=N for "
                    "another bound)"
                )

    def _log(self, row: _Row) -> None:
        log = self.metrics.log_value
        log((SECONDS, "learner"), row.seconds, reduce="sum")
        log("learner_busy", row.seconds / (time.monotonic() - row.began) / self.config.num_learners, window=1)
        if row.lags:
            log("lag_mean", sum(row.lags) / len(row.lags), window=1)
            log("lag_max", max(row.lags), window=1)
        log("num_fragments_left_out", row.too_old + row.lost, reduce="lifetime_sum")


class _Row:
    """What is summed up for a row of metrics."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.steps = self.batches = self.too_old = self.lost = 0
        self.seconds = 0.0
        self.lags: tuple[int, ...] = ()


def _is_asked(manager: Any, index: int) -> bool:
    return bool(manager._remote_actor_states[index].get_num_in_flight_requests(TAG))
