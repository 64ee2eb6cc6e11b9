"""What goes wrong in a run and is mended: environments that fail, env runners whose process dies."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any

from synrl_ray.errors import UserError, worker_died
from synrl_ray.sampling.failures import FailureCount

LOSSES_IN_A_ROW = 3
"""Iterations, one after another, in which a runner may die."""
_PATIENCE_SECONDS = 60.0  # a runner takes some seconds to start: waiting for it keeps the batch whole
_PROBE_SECONDS = 1.0
_PROBE_INTERVAL_SECONDS = 10.0


class Faults:
    """Samples from a group of env runners, restarts those that died, and counts.

    What a runner raises is raised here. A runner that dies is restarted by Ray; the iteration goes on with the
    samples of the others, the next one waits for it.

    Args:
        environment: its name.
        max_failure_share: failures of environments in each environment step that are borne.
        waits: wait for a runner to come back, for the sake of whole batches, where the others wait too.
    """

    def __init__(self, environment: str, max_failure_share: float, *, waits: bool = True) -> None:
        self.failures = FailureCount(environment, max_failure_share)
        self.runner_restarts = 0
        self._losses_in_a_row = 0
        self._alive: int | None = None
        """Remote runners that were healthy when it was last looked."""
        self._lost = 0
        """Those that died since the last sampling."""
        self._since_loss = 0
        """Fragments that have come since then, where they come one by one."""
        self._notices: list[str] = []
        self._waits, self._patience, self._next_probe = waits, 0.0, 0.0

    def sample(self, group: Any) -> list[tuple[Any, Any, tuple[int, str]]]:
        """A rollout, metrics, and new failures of environments with the last one's cause, of every runner.

        Raises:
            UserError: if all runners died, or some in more than :data:`LOSSES_IN_A_ROW` iterations in a row.
        """
        total = group.num_remote_env_runners()
        self._note_deaths(group)
        results = call_runners(
            group,
            lambda runner: (runner.sample(), runner.get_metrics(), runner.failures.take()),
            local=total == 0,
        )
        self._note_deaths(group)
        self._losses_in_a_row = self._losses_in_a_row + 1 if self._lost else 0
        self._lost = 0
        if not results or self._losses_in_a_row > LOSSES_IN_A_ROW:
            raise worker_died()
        return results

    def collected(self, group: Any, tag: str) -> list[tuple[int, Any]]:
        """What env runners that were asked for fragments have ready, with their indices.

        Raises:
            UserError: if all runners died, or some more than :data:`LOSSES_IN_A_ROW` times before as many fragments
                came in between as there are runners.
        """
        self._note_deaths(group)
        every = group._worker_manager.fetch_ready_async_reqs(timeout_seconds=0.0)  # RLlib's own, which nobody awaits
        results = [result for result in every if result.tag == tag]
        ready = [(result.actor_id, given(result.get())) for result in results if result.ok]
        self._note_deaths(group)
        self._since_loss = 0 if self._lost else self._since_loss + len(ready)
        self._losses_in_a_row, self._lost = self._losses_in_a_row + bool(self._lost), 0
        if self._since_loss >= group.num_remote_env_runners():
            self._losses_in_a_row = 0
        if not group.num_healthy_remote_workers() or self._losses_in_a_row > LOSSES_IN_A_ROW:
            raise worker_died()
        return ready

    def count_failures(self, results: Sequence[tuple[int, str]], steps: int) -> None:
        """Count failures of environments after ``steps`` of the run.

        Raises:
            UserError: if they are more than a run may have.
        """
        for number, cause in results:
            if number and not self.failures.failures:
                self._notices.append(f"an environment failed and was restarted ({cause})")
            self.failures.add(number, cause, steps)
        if self.failures.failures:
            self.failures.check()

    def find_restarted(self, group: Any) -> list[int]:
        """Which runners have come back: waits for them once, and then only looks now and then."""
        self._note_deaths(group)
        missing = group.num_remote_env_runners() - group.num_healthy_remote_workers()
        if not missing or time.monotonic() < self._next_probe:
            return []
        found: list[int] = []
        give_up = time.monotonic() + self._patience
        while len(found) < missing:
            began = time.monotonic()
            found += group.probe_unhealthy_env_runners(timeout_seconds=_PROBE_SECONDS)
            if time.monotonic() >= give_up:
                break
            time.sleep(max(0.0, _PROBE_SECONDS / 4 - (time.monotonic() - began)))  # Ray may answer at once
        self._patience = 0.0
        self._next_probe = time.monotonic() + _PROBE_INTERVAL_SECONDS
        self.runner_restarts += len(found)
        self._alive = group.num_healthy_remote_workers()
        self._notices += [f"env runner {index} was restarted" for index in found]
        return found

    def _note_deaths(self, group: Any) -> None:
        """Tell of runners that died since the last look. Not only sampling finds that out: weights are sent, too."""
        total, alive = group.num_remote_env_runners(), group.num_healthy_remote_workers()
        lost = (total if self._alive is None else self._alive) - alive
        self._alive = alive
        if lost > 0:
            self._lost += lost
            self._notices.append(f"{lost} of {total} env runners died: going on with the others until restarted")
            self._patience, self._next_probe = _PATIENCE_SECONDS if self._waits else 0.0, 0.0

    def take_notices(self) -> list[str]:
        """What there is to say since the last call."""
        notices, self._notices = self._notices, []
        return notices

    def get_state(self) -> dict[str, int]:
        """The counts."""
        return {"env_failures": self.failures.failures, "runner_restarts": self.runner_restarts}

    def set_state(self, state: dict[str, int]) -> None:
        """Inverse of :meth:`get_state`."""
        self.failures.failures, self.runner_restarts = state["env_failures"], state["runner_restarts"]


def call_runners(
    group: Any, function: Callable[[Any], Any], *, local: bool, indices: list[int] | None = None
) -> list[Any]:
    """Results of a function of the healthy runners; RLlib, which restarts dead ones, would swallow what it raises.

    Args:
        group: RLlib's ``EnvRunnerGroup``.
        function: takes the runner.
        local: call the local runner too.
        indices: of the remote runners, all if ``None``.
    """

    results = group.foreach_env_runner(
        lambda runner: guarded(runner, lambda: function(runner)), local_env_runner=local, remote_worker_ids=indices
    )
    return [given(result) for result in results]


def guarded(runner: Any, function: Callable[[], Any]) -> Any:
    """What a function gives in an env runner, or what it raises there, for :func:`given`: RLlib would swallow that."""
    try:
        return function()
    except Exception as error:
        if not runner.worker_index:
            raise
        return _Raised(error)


def given(result: Any) -> Any:
    """A result of :func:`guarded` in the driver; what was raised there is raised here."""
    if isinstance(result, _Raised):
        raise result.error
    return result


def require_runners(group: Any) -> None:
    """Raise :class:`UserError` if a remote runner could not be made."""
    if group.num_healthy_remote_workers() < group.num_remote_env_runners():
        for result in group._worker_manager.foreach_actor(lambda runner: runner.assert_healthy(), healthy_only=False):
            if not result.ok:
                error = result.get()
                reason = next(reversed(str(error).strip().splitlines()), type(error).__name__)
                raise UserError(f"an env runner could not be made ({reason})", "look at the packages of its node")


class _Raised:
    """An exception on its way to the driver."""

    def __init__(self, error: Exception) -> None:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.error = error
