"""Train one run to its end: iterate, evaluate, checkpoint, write the folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synrl_ray.errors import NonFiniteError, UserError, reason_of, user_error_in
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.files import sync_tree, write_atomically
from synrl_ray.interrupt import StopRequest, breakable
from synrl_ray.policies.description import damage_of
from synrl_ray.results import Result
from synrl_ray.running.card import CARD_FILE, card
from synrl_ray.running.checkpoints import Checkpoint
from synrl_ray.running.kind import Kind
from synrl_ray.running.parallel_copy import ParallelCopy
from synrl_ray.running.parallel_evaluation import Columns, Judging, ParallelEvaluation
from synrl_ray.running.progress import Progress, Watcher, ignore
from synrl_ray.running.run_folder import METRICS, Position, RunFolder
from synrl_ray.running.seal import sign_policy
from synrl_ray.running.seal_key import why_no_key
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.tracking import Tracker, Tracking
from synrl_ray.running.trust import only_own


class Interrupted(Exception):
    """The user stopped the run; its checkpoint is on disk."""


def train_run(
    folder: RunFolder,
    spec: RunSpec,
    kind: Kind[Any],
    watch: Watcher = ignore,
    *,
    trust: bool = False,
    track: Tracker | None = None,
) -> Result:
    """Train from the folder's checkpoint, or from the start, and return the result. Ray must be running.

    Args:
        folder: of the run.
        spec: what is trained.
        kind: its kind.
        watch: is told of the progress.
        trust: restore a checkpoint that this user has not made; RLlib's can execute anything.
        track: the tracker that rows, result and policy are sent to as well.

    Raises:
        UserError: for a checkpoint that is damaged or not to be trusted, or what an env runner or learner reports,
            such as NaN.
        Interrupted: after Ctrl-C.
    """
    with folder.locked(), folder.writable(), StopRequest() as stop:
        try:
            run = TrainingRun(folder, spec, kind, watch, stop, trust=trust, track=track)
            result = None
            try:
                try:
                    run.train()
                finally:
                    run.close()
                run.report("evaluating")
                with breakable():
                    result = run.trainer.finish(folder, run.position)
                    write_atomically(folder.path / CARD_FILE, card(result, spec))
            finally:
                run.end_tracking(result)
            sync_tree(folder.path)  # the pictures too
        except KeyboardInterrupt:
            if not stop.is_first:
                raise
            raise Interrupted from None
    folder.copy.update()
    figures = {shown.column: result.figures.get(shown.result) for shown in kind.shown if shown.result is not None}
    run.report("done", figures)
    return result


def complete_run(folder: RunFolder, spec: RunSpec, kind: Kind[Any], result: Result) -> None:
    """Draw what a run that has ended lacks, since it was interrupted after its result was written.

    The card is the last thing that :func:`train_run` writes. What is published, or may not be written, is left alone.
    """
    path = folder.path
    if (path / CARD_FILE).exists() or not (path / METRICS).exists() or not os.access(path, os.W_OK):
        return
    with folder.writable():
        with damage_of(path, "train it again, or leave it out"):
            save_figures(kind.figures([folder]), path)
        write_atomically(path / CARD_FILE, card(result, spec))


class TrainingRun:
    """One training in progress."""

    judges_in_parallel = True
    """Whether evaluations may be parallel to training, where the trainer lets them."""

    def __init__(
        self,
        folder: RunFolder,
        spec: RunSpec,
        kind: Kind[Any],
        watch: Watcher,
        stop: StopRequest | None = None,
        *,
        trust: bool = False,
        track: Tracker | None = None,
    ) -> None:
        from tensorboardX import SummaryWriter

        self.folder, self.kind, self.watch, self.stop = folder, kind, watch, stop or StopRequest()
        self.label = f"{spec.policy} seed {spec.seed}"
        self.position = Position()
        self.ended = False
        self.rate = 0.0
        self.shown: dict[str, float] = {}
        self.tracking = None if track is None else Tracking(track, folder.path, spec)
        self.evaluation, self.copy = ParallelEvaluation(), ParallelCopy(folder.copy)
        no_key = why_no_key()
        watch(Progress(label=self.label, phase="starting", notices=() if no_key is None else (_NOT_OWN % no_key,)))
        with folder.opened_checkpoint(only_own=only_own(kind, trust)) as found:
            self.trainer = kind.start(spec)
            self.has_checkpoint = found is not None
            try:
                if found is not None:
                    self._restore(found)
                self._tell(folder.rewind_metrics(self.position.iteration))
                self.board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=self.position.steps)
                if (judging := self._snapshot()) is not None:
                    self.evaluation.start()
                    if self._is_owed():
                        self.evaluation.begin(judging, self.position)
                if self.tracking is not None:
                    self.tracking.begin()
                    self._tell(self.tracking.take_notices())
            except BaseException:
                self.trainer.close()
                raise
        self.started = time.monotonic() - self.position.wall_seconds

    def train(self) -> None:
        """Iterate to the end and save.

        Raises:
            KeyboardInterrupt: where the user wants an end; the first time, the last whole iteration is saved.
        """
        try:
            while not self.ended and not self.stop.requested:
                self.iterate()
            with breakable():
                self._join(wait=True)
        except KeyboardInterrupt:
            if not self.stop.is_first:
                raise
        self.save()
        if self.stop.requested:
            raise KeyboardInterrupt

    def iterate(self) -> dict[str, Any]:
        """Train one iteration, evaluate where it is due, write one row and return it."""
        trainer, column, before, began = self.trainer, self.kind.unit.column, self.position.steps, time.monotonic()
        measured = self._train_once()
        self.position = replace(
            self.position,
            iteration=self.position.iteration + 1,
            steps=measured.steps,
            episodes=self.position.episodes + measured.episodes,
            wall_seconds=time.monotonic() - self.started,
        )
        self.rate = (measured.steps - before) / (time.monotonic() - began)
        row: dict[str, Any] = {
            "iteration": self.position.iteration,
            column: measured.steps,
            "episodes": self.position.episodes,
            "wall_seconds": round(self.position.wall_seconds, 3),
            f"{column}_per_second": round(self.rate, 1),
            **measured.row,
        }
        self._join(wait=False)
        self._say_of_copy(wait=False)
        due = measured.steps // trainer.interval > before // trainer.interval
        if due:
            self.report("evaluating", row)
            row.update(self._evaluate())
        self._judge(row)
        self.folder.append_metrics(row)
        self._draw(row)
        if due:
            for name, values in trainer.distributions().items():
                self.board.add_histogram(name, values, measured.steps)
            self.save()
        self.report("training", row, measured.notices)
        return row

    def save(self) -> None:
        """Write checkpoint and policy, in this order: where there is a policy, there has been a checkpoint.

        The copy follows while training goes on.
        """
        self._say_of_copy(wait=True)
        self.board.flush()
        self.folder.save_checkpoint(self.trainer.save, self.position)
        self.has_checkpoint = True
        self.trainer.export(self.folder.path)
        sign_policy(self.folder.path)
        self.copy.begin()

    def report(self, phase: Any, row: dict[str, Any] | None = None, notices: tuple[str, ...] = ()) -> None:
        """Tell the watcher how far the run is, with the newest of the figures that are worth a look."""
        self._note(row or {})
        self.watch(
            Progress(
                label=self.label,
                phase=phase,
                unit=self.kind.unit.short,
                steps=self.position.steps,
                total=self.trainer.total,
                figures=tuple(self.shown.items()),
                steps_per_second=self.rate,
                notices=notices,
            )
        )

    def close(self) -> None:
        """Release actors and files, once the copy is what the last checkpoint was."""
        try:
            self._say_of_copy(wait=True)
        finally:
            self.evaluation.close()
            self.board.close()
            self.trainer.close()

    def end_tracking(self, result: Result | None) -> None:
        """Tell the tracker what has come out, or that the run was stopped."""
        if self.tracking is not None:
            self.tracking.end(result)
            self._tell(self.tracking.take_notices())

    def _train_once(self) -> Any:
        try:
            return self.trainer.train_once()
        except Exception as error:
            cause = user_error_in(error)
            if isinstance(cause, NonFiniteError) and self.has_checkpoint:
                cause = NonFiniteError(cause.tensor, cause.where, f"the last good checkpoint is kept; {cause.remedy}")
            if cause is not None:
                raise cause from error
            raise

    def _evaluate(self) -> Columns:
        """Judge the policy, or begin to; where the user wants an end, the iteration is kept without that."""
        try:
            with breakable():
                self._join(wait=True)
                if self.ended:  # by the evaluation before
                    return {}
                judging = self._snapshot()
                if judging is None:
                    return self.trainer.evaluate()
                self.evaluation.begin(judging, self.position)
        except KeyboardInterrupt:
            if not self.stop.is_first:
                raise
        return {}

    def _snapshot(self) -> Judging | None:
        return self.trainer.snapshot() if self.judges_in_parallel else None

    def _is_owed(self) -> bool:
        """Whether the newest evaluation that was due is not there: the run ended while it was made."""
        column, interval = self.kind.unit.column, self.trainer.interval
        judged = (row for row in self.folder.metrics(column) if any(name.startswith("evaluation") for name in row))
        return self.position.steps // interval > max((row[column] for row in judged), default=0) // interval

    def _join(self, *, wait: bool) -> None:
        """Take what an evaluation parallel to training has given into the row of the step that its policy had."""
        if wait and self.evaluation.is_under_way:
            self.report("evaluating")
        while (found := self.evaluation.take(wait=wait)) is not None:
            if found.columns:
                at = found.position
                row = {"iteration": at.iteration, self.kind.unit.column: at.steps, **found.columns}
                self.folder.append_metrics(row)
                self._draw(row)
                self.trainer.note_evaluation(found.columns)
                self.ended = self.ended or self.trainer.is_solved(row)
                self._note(row)
            if found.notices:
                self.report("training", notices=found.notices)

    def _draw(self, row: dict[str, Any]) -> None:
        column = self.kind.unit.column
        for name, value in row.items():
            if value is not None and name not in ("iteration", column):
                self.board.add_scalar(name, value, row[column])
        if self.tracking is not None:
            self.tracking.log(row, row[column])
            if notices := self.tracking.take_notices():
                self.report("training", notices=notices)

    def _judge(self, row: dict[str, Any]) -> None:
        """Note whether training ends; the row that says so need not be the last, if that was not known at once."""
        self.ended = self.ended or self.position.steps >= self.trainer.total or self.trainer.is_solved(row)

    def _say_of_copy(self, *, wait: bool) -> None:
        if notices := self.copy.take(wait=wait):  # the folder itself is whole: the next checkpoint tries again
            self.report("training", notices=notices)

    def _restore(self, found: Checkpoint) -> None:
        self.position = found.position
        if found.damaged is not None:
            self._tell([f"{found.damaged} is damaged: going on from the one before, at {found.position.steps:,}"])
        try:
            self.trainer.restore(found.state)
        except Exception as error:  # pickle, msgpack and Ray raise many types for damaged files
            problem = f"checkpoint {found.folder} is damaged ({reason_of(error)})"
            raise UserError(problem, "start a new run") from error
        self._judge({})  # the position alone may say that it has ended
        for row in self.folder.metrics():
            if row["iteration"] <= self.position.iteration:
                self._judge(row)
                self._note(row)

    def _tell(self, notices: Sequence[str]) -> None:
        if notices:
            self.report("starting", notices=tuple(notices))

    def _note(self, row: dict[str, Any]) -> None:
        for each in self.kind.shown:
            if row.get(each.column) is not None and each.unless not in row:
                self.shown[each.label] = row[each.column]


_NOT_OWN = (
    "no checkpoint can be sealed as yours (%s): resuming the run will take --trust, unless XDG_CONFIG_HOME names a "
    "folder that you can write"
)
