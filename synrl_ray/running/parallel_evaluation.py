"""Evaluations parallel to training: an actor of Ray's judges a snapshot of the policy while training goes on.

At most one is under way, and training waits for it when the next is due: so a run has the evaluations of one that
judges in between, and policies do not queue up where judging is slower than training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from synrl_ray.errors import UserError, is_death, reason_of, user_error_in
from synrl_ray.running.checkpoints import Position

Columns = Mapping[str, float | None]
Judging = Callable[[], Columns]
"""Judges a policy that it carries with it, in whichever process; columns for the row."""

MISSED = "evaluations_missed"
"""Column of a row whose evaluation was given up."""


class Found(NamedTuple):
    """What has come of an evaluation."""

    position: Position
    """Where the policy was that it is about."""
    columns: Columns
    """None yet where it has begun again."""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Flight:
    position: Position
    snapshot: Any
    """A reference to the :data:`Judging`, which the trainer's process owns: it outlives the evaluator."""
    found: Any
    """A reference to what it will give."""
    is_second: bool = False


class ParallelEvaluation:
    """The evaluator of one run. It asks Ray for no CPU: it never waits for one."""

    def __init__(self) -> None:
        self._evaluator: Any = None
        self._flight: _Flight | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether an evaluation has begun that :meth:`take` has not given yet."""
        return self._flight is not None

    def start(self) -> None:
        """Start the process, while training does what comes before the first evaluation."""
        import ray

        self._evaluator = self._evaluator or ray.remote(num_cpus=0)(Evaluator).remote()

    def begin(self, judging: Judging, position: Position) -> None:
        """Judge what ``judging`` carries, as it is now: what training makes of it meanwhile changes nothing.

        Raises:
            UserError: if it cannot be sent, as a network of a user's own that holds a lock or a file.
        """
        import ray

        try:
            snapshot = ray.put(judging)
        except TypeError as error:  # Ray's, of whatever kept it from being pickled
            problem = f"the policy cannot be sent to another process ({reason_of(error.__cause__ or error)})"
            raise UserError(problem, "leave evaluation.parallel_to_training out") from error
        self._flight = _Flight(position, snapshot, self._judged(snapshot))

    def take(self, *, wait: bool) -> Found | None:
        """Give what has come of the evaluation; ``None`` if none is under way, or if it goes on and is not waited for.

        An evaluator that has died is started anew, once for each evaluation. Then that is missing, and said to be.

        Raises:
            UserError: what the evaluation itself has raised, such as that the environment is broken.
        """
        flight = self._flight
        if flight is None:
            return None
        import ray

        if not ray.wait([flight.found], timeout=None if wait else 0)[0]:
            return None
        self._flight = None
        try:
            return Found(flight.position, ray.get(flight.found))
        except Exception as error:
            if not is_death(error):
                raise user_error_in(error) or error from error
        self.close()
        died = f"the evaluator died at the evaluation of {flight.position.steps:,} steps"
        if flight.is_second:
            return Found(flight.position, {MISSED: 1}, (f"{died} again: that one is missing",))
        self._flight = replace(flight, found=self._judged(flight.snapshot), is_second=True)
        return Found(flight.position, {}, (f"{died}: it is started anew, and judges again",))

    def close(self) -> None:
        """End the evaluator, and drop what it is about."""
        if self._evaluator is not None:
            import ray

            ray.kill(self._evaluator)
        self._evaluator = self._flight = None

    def _judged(self, snapshot: Any) -> Any:
        self.start()
        return self._evaluator.judge.remote(snapshot)


class Evaluator:
    """The actor."""

    def __init__(self) -> None:
        from synrl_ray.snn.device import compute_alone

        compute_alone()  # as in training: the same sums

    def judge(self, judging: Judging) -> Columns:
        """Judge."""
        return judging()
