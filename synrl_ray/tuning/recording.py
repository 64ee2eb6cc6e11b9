"""What Tune reports, written into the study's folder as it comes, and said in a line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from synrl_ray.errors import UserError, worker_died
from synrl_ray.interrupt import StopRequest
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.study_folder import StudyFolder
from synrl_ray.tuning.trainable import INDEX
from synrl_ray.tuning.trials import Trial, best_trial

_LINE_SECONDS = 10.0
_RAISED = re.compile(r"[A-Za-z_][\w.]*(: |$)")
"""A line of a traceback that names the exception; the others are indented."""


class Stopped(Exception):
    """The user stopped the search."""


class Recorder(Callback):
    """Keeps ``trials.jsonl`` up to date, and ends Tune's loop when the user wants that.

    Args:
        folder: where.
        study: what is searched.
        trials: those that there are; the search appends new ones.
        stop: whether the user wants an end.
        say: shows a line.
    """

    def __init__(
        self, folder: StudyFolder, study: Study, trials: list[Trial], stop: StopRequest, say: Callable[[str], None]
    ) -> None:
        self.folder, self.study, self.trials, self.stop, self.say = folder, study, trials, stop, say
        self.said = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look whether the user wants an end.

        Raises:
            Stopped: if so.
        """
        if self.stop.requested:
            raise Stopped

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial begins, or goes on."""
        self.folder.write_trials(self.trials)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has been evaluated."""
        own = self._own(trial)
        own.settings = {path: value for path, value in trial.config.items() if path != INDEX}
        own.steps, own.total, own.unit = int(result["steps"]), int(result["total"]), str(result["unit"])
        own.score_name = result["score_name"] or own.score_name
        own.curve.append((own.steps, float(result["score"])))
        if result["ended"]:
            own.state = "finished"
        self.folder.write_trials(self.trials)
        if time.monotonic() - self.said > _LINE_SECONDS:
            self._say(f"trial {own.index}: {own.score:.6g} after {own.steps:,} {self.study.kind.unit.words}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended by itself or by the scheduler."""
        own = self._own(trial)
        own.state = "finished" if own.state == "finished" else "stopped"
        self.folder.write_trials(self.trials)
        self._say(f"trial {own.index} {own.state}: {own.score:.6g} after {own.steps:,} {self.study.kind.unit.words}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed; the others go on."""
        own = self._own(trial)
        own.state, own.error = "failed", _reason(trial)
        self.folder.write_trials(self.trials)
        self._say(f"trial {own.index} failed: {own.error}")

    def _own(self, trial: Any) -> Trial:
        return self.trials[int(str(trial))]

    def _say(self, line: str) -> None:
        self.said = time.monotonic()
        ended = sum(trial.state != "running" for trial in self.trials)
        best = best_trial(self.trials)
        so_far = f", best {best.score:.6g} (trial {best.index})" if best is not None else ""
        self.say(f"[{ended}/{self.study.num_trials}{so_far}] {line}")


def _reason(trial: Any) -> str:
    """What went wrong, in a line: the last one of the text that Tune has written of it. Its pickle is not read."""
    if trial.error_file is None:
        return str(worker_died())
    text = Path(trial.error_file).read_text(errors="replace")
    lines = [line for line in text.splitlines() if _RAISED.match(line)]
    if ("Traceback" not in text and "ray::" not in text) or not lines:
        return str(worker_died())
    kind, _, message = lines[-1].partition(": ")
    is_ours = kind.startswith(UserError.__module__)
    return message if is_ours else f"{kind.rpartition('.')[2]}: {message or 'no message'}"
