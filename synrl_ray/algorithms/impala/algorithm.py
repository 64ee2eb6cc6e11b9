"""Importance-weighted actor-learner: env runners sample and learners learn, each without waiting for the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
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
from synrl_ray.errors import is_death, worker_died
from synrl_ray.sampling.asynchronous import TAG, Collected, Fragment, ask
from synrl_ray.sampling.metrics import SECONDS
from synrl_ray.sampling.rollout import Rollout, parts_of

BATCHES_AT_LEARNERS = 2
"""One that is learned from, and one that waits: with fewer, learners would wait for the driver."""
_STEPS_PER_ROW, _ROW_SECONDS = 2000, 10.0
"""After which a row of metrics is written, whichever comes first, once there was a batch."""
_WAIT_SECONDS = 1.0


class ImpalaAlgorithm(OnPolicyAlgorithm):
    """Env runners are asked for fragments, of which a number make a batch, whoever they are of; the oldest is learned
    from first. Fragments and weights pass by reference.

    How many fragments are out, asked for or waiting, follows what learners take: one more whenever they have nothing
    to do, one less whenever a batch waits before those that they have, and never more than make up ``max_lag`` batches
    with those. That bounds the lag between the weights that act and those that learn, but for env runners much slower
    than the others.
    Without env runners in processes of their own sampling and learning take turns.
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
        self._size = self.config.fragments_per_batch if self.config.num_env_runners else 1
        number = self.config.num_env_runners
        allowed = self._size * (self.config.settings.max_lag - BATCHES_AT_LEARNERS)
        if number > allowed:
            self.activity.tell(
                f"only {allowed} of {number} env runners collect at a time, for all would let weights be older than "
                "max_lag updates: set more envs_per_batch, or max_lag"
            )
        self._most_out = min(number + self._size, allowed)
        self._out = min(number, allowed)
        self._idle: deque[int] = deque()
        """Env runners that nothing is asked of, the longest ago first."""
        self._slow: set[int] = set()

    # --- RLlib's interface -----------------------------------------------------------------------------------

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> Any:
        """The module of this process, with the newest weights."""
        if self._weights is not None and self._versions.get(0) != self._version:
            with suppress(ray.exceptions.ObjectLostError):  # the learner has died: those of before are kept
                self.env_runner.module.set_state(ray.get(self._weights))
                self._versions[0] = self._version
        return super().get_module(module_id)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds."""
        first = next(iter(self.learner_group.foreach_learner(lambda learner: learner.return_scale.get_state())))
        if not first.ok:
            raise first.get()
        self.return_scale.set_state(first.get())
        return super().get_state(*args, **kwargs)

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`; updates are counted anew."""
        super().set_state(state)
        scale = self.return_scale.get_state()
        self.learner_group.foreach_learner(lambda learner: learner.begin(scale))
        self._weights, self._version = None, 0
        self._versions.clear()
        self._waiting.clear()

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Give runners that Ray has restarted new episodes, and with the next request weights; RLlib calls this."""
        restarted = super().restore_env_runners(env_runner_group)
        for index in restarted:
            self._versions.pop(index, None)
        return restarted

    def training_step(self) -> None:
        """Pass fragments and weights on until there is enough for a row of metrics."""
        if not self.env_runner_group.num_remote_env_runners():
            before = self._steps()
            while self._steps() - before < _STEPS_PER_ROW:
                super().training_step()
            return
        self._calibrate()
        row = self._row
        while not row.batches or (row.steps < _STEPS_PER_ROW and time.monotonic() - row.began < _ROW_SECONDS):
            self._ask()
            self._wait()
            self._gather()
            self._take(self._fetched())
            self._send()
        self._log(row)
        self._row = _Row()

    def _wait(self) -> None:
        """Until there is something to do: while learners have enough, that is when they have finished a batch."""
        asked = list(self.learner_group._worker_manager._in_flight_req_to_actor_id)
        if self._at_learners() < BATCHES_AT_LEARNERS:
            asked += self.env_runner_group._worker_manager._in_flight_req_to_actor_id
        if asked:
            ray.wait(asked, timeout=_WAIT_SECONDS, fetch_local=False)

    # --- env runners -----------------------------------------------------------------------------------------

    def _sample(self) -> list[Rollout]:
        """What every runner collected: for calibration, and where all is in this process."""
        rollouts: list[Rollout] = super()._sample()
        if self.env_runner_group.num_remote_env_runners():
            self._count(sum(rollout.num_steps for rollout in rollouts))
        return rollouts

    def _ask(self) -> None:
        """Have as many collect as there may be fragments out."""
        at_learners, is_whole = self._at_learners(), len(self._waiting) >= self._size
        if is_whole and at_learners >= BATCHES_AT_LEARNERS:
            self._out = max(self._size, self._out - 1)
        elif not is_whole and not at_learners:
            self._out = min(self._most_out, self._out + 1)
        manager = self.env_runner_group._worker_manager
        healthy = manager.healthy_actor_ids()
        idle = {i for i in healthy if not manager._remote_actor_states[i].get_num_in_flight_requests(TAG)}
        waited = [i for i in self._idle if i in idle]
        self._idle = deque([*waited, *sorted(idle.difference(waited))])
        room = self._out - len(self._waiting) - (len(healthy) - len(idle))
        chosen = [self._idle.popleft() for _ in range(min(room, len(self._idle)))]
        newest = [i for i in chosen if self._weights is None or self._versions.get(i) == self._version]
        ask(self.env_runner_group, None, self._version, newest)
        others = [i for i in chosen if i not in newest]
        ask(self.env_runner_group, self._weights, self._version, others)
        self._versions |= dict.fromkeys(others, self._version)

    def _gather(self) -> None:
        """Take over what env runners have ready."""
        found: list[tuple[int, Collected]] = self.faults.collected(self.env_runner_group, TAG)
        for _, collected in found:
            self._waiting.append(collected.fragment)
            self._row.steps += collected.num_steps
        if found:
            self._count(sum(collected.num_steps for _, collected in found))
        metrics = [collected.metrics for _, collected in found if collected.metrics is not None]
        if metrics:
            self.metrics.aggregate(metrics, key=ENV_RUNNER_RESULTS)
        self._row.failures += [collected.failures for _, collected in found if collected.failures[0]]

    def _count(self, num_steps: int) -> None:
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), num_steps, reduce="lifetime_sum", with_throughput=True
        )

    # --- learners --------------------------------------------------------------------------------------------

    def _at_learners(self) -> int:
        """Batches that not all of them have finished: RLlib drops what is one too many for any of them."""
        states = self.learner_group._worker_manager._remote_actor_states.values()
        return max(int(state.get_num_in_flight_requests()) for state in states)

    def _send(self) -> None:
        """Give learners what makes a whole batch, as long as they can take it."""
        while len(self._waiting) >= self._size and self._at_learners() < BATCHES_AT_LEARNERS:
            batch = [self._waiting.popleft() for _ in range(self._size)]
            try:
                done = self.learner_group.update(
                    training_data=TrainingData(batch_refs=batch),
                    timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
                    async_update=True,
                )
            except RayError as error:
                self._raise_death(error)
                raise
            self._take(done)

    def _fetched(self) -> list[Learned]:
        results = self.learner_group._worker_manager.fetch_ready_async_reqs(timeout_seconds=0.0)
        try:
            return list(self.learner_group._get_results(results))
        except RayError as error:
            self._raise_death(error)
            raise

    def _raise_death(self, error: Exception) -> None:
        """Say so where a learner has died; what it raises itself is another matter."""
        if is_death(error):
            raise worker_died() from error

    def _learn_from(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Learn in this process, from what was collected in it."""
        (rollout,) = rollouts
        envs = self.config.settings.envs_per_batch or self.config.num_envs_per_env_runner
        done: list[Learned] = []
        for index, part in enumerate(parts_of(rollout, envs)):  # none of them is older than the others
            done += self.learner_group.update(
                training_data=TrainingData(episodes=[Fragment(part, self._version, index)]),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
            )
            self._version = done[-1].version
        return [learned.metrics for learned in done]

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
        self._count_failures(row.failures)
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
        self.failures: list[tuple[int, str]] = []
