"""What a run can train: the interface between the run's loop and the kinds of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from synrl_ray.errors import UserError, worker_died
from synrl_ray.experiment import ClassificationExperiment, LocalExperiment, MetaExperiment
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec


@dataclass(frozen=True)
class Measured:
    """One iteration's outcome."""

    steps: int
    """Units trained so far, over the whole run."""
    episodes: int
    """Episodes that ended in this iteration; 0 where there are none."""
    row: dict[str, float | None]
    """Columns for ``metrics.jsonl``."""
    notices: tuple[str, ...] = ()
    """What went wrong and was mended, to be said once."""


class Task(Protocol):
    """A training in progress, without knowledge of folders and progress.

    ``row`` columns of an evaluation start with ``evaluation_``.
    """

    unit: str
    """Name of the counter: ``env_steps`` or ``samples``."""
    total: int
    """Units at which training ends."""
    interval: int
    """Units between evaluations; checkpoints are written there too."""

    def train_once(self) -> Measured:
        """Train one iteration."""

    def evaluate(self) -> Mapping[str, float | None]:
        """Judge the policy during training; columns for the row."""

    def distributions(self) -> Mapping[str, np.ndarray]:
        """Values whose histograms are worth a look in TensorBoard; none, as a rule."""

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether a row's evaluation allows training to end early."""

    def save(self, path: Path) -> None:
        """Write a checkpoint into a new folder."""

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""

    def export(self, folder: Path) -> None:
        """Write the policy's files."""

    def close(self) -> None:
        """Release what training holds; the policy stays."""

    def finish(self, folder: RunFolder, position: Position) -> dict[str, Any]:
        """Judge by the experiment's protocol, write result and pictures."""


class TaskKind(Protocol):
    """What is known of a kind of task without starting one."""

    pickles: bool
    """Whether its checkpoints are pickles, which can execute anything when they are loaded."""

    def __call__(self, spec: RunSpec) -> Task:
        """Start it; Ray is running."""

    def check(self, spec: RunSpec) -> None:
        """Raise :class:`UserError` if the run cannot work."""

    def combine(self, results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
        """The result of several seeds together."""

    def draw(self, folders: Sequence[RunFolder], path: Path) -> None:
        """Draw the learning curves of one or several seeds."""


_DEATHS = ("ActorDiedError", "ActorUnavailableError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError")


def task_kind(spec: RunSpec) -> TaskKind:
    """The kind of task that an experiment describes."""
    if isinstance(spec.experiment, ClassificationExperiment):
        from synrl_ray.kinds.classification.trainer import ClassificationTask

        return ClassificationTask
    if isinstance(spec.experiment, LocalExperiment):
        from synrl_ray.kinds.local.trainer import LocalTask

        return LocalTask
    if isinstance(spec.experiment, MetaExperiment):
        from synrl_ray.kinds.meta.trainer import MetaTask

        return MetaTask
    from synrl_ray.kinds.control.trainer import ControlTask

    return ControlTask


def user_error_in(error: BaseException | None) -> UserError | None:
    """The error meant for the user, which Ray wraps when it comes from another process; also a process that died."""
    if type(error).__name__ in _DEATHS:
        return worker_died()
    for _ in range(10):
        if error is None:
            return None
        wrapped = getattr(error, "cause", None)  # Ray's wrapper is itself an instance of what it wraps
        if isinstance(error, UserError) and wrapped is None:
            return error
        error = wrapped or error.__cause__ or error.__context__
    return None
