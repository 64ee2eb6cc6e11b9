"""A study's folder: what is searched, and what each trial has given. Every file is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.running.imports import sign_modules
from synrl_ray.running.lock import locked_folder, require_no_links
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trials import Trial

STUDY_FILE, TRIALS_FILE, _BEST = "study.json", "trials.jsonl", "best.json"
_MOST_BYTES = 2**26


class StudyFolder:
    """Files of one study.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(path: Path, study: Study) -> StudyFolder:
        """Start a new study.

        Raises:
            UserError: if something is there, or the folder cannot be written.
        """
        StudyFolder.require_free(path)
        folder = StudyFolder(path)
        try:
            write_atomically(path / STUDY_FILE, json.dumps(study.to_json(), indent=2) + "\n")
            sign_modules(study.kind.modules(study.experiments()), path / STUDY_FILE)
        except OSError as error:
            problem = f"study folder {path} cannot be written ({error.strerror or reason_of(error)})"
            raise UserError(problem, "choose another --run-dir") from error
        return folder

    @staticmethod
    def require_free(path: Path) -> None:
        """Raise :class:`UserError` if a new study cannot start in that folder because something is there."""
        if (path / STUDY_FILE).exists():
            remedy = f"continue it with `{command('tune', '--resume', path)}`, or choose another --run-dir"
            raise UserError(f"study folder {path} exists", remedy)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise UserError(f"{path} exists and is no study folder", "choose another --run-dir")

    @staticmethod
    def open(path: Path) -> StudyFolder:
        """Open an existing study.

        Raises:
            UserError: if the folder is not a study's.
        """
        if not (path / STUDY_FILE).is_file():
            raise UserError(f"{path} is no study folder (no {STUDY_FILE})", "name a folder that `synrl tune` has made")
        return StudyFolder(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one search at a time.

        Raises:
            UserError: if another process searches in it.
        """
        require_no_links(self.path, "study folder")
        with locked_folder(self.path, "study folder"):
            yield

    @property
    def runs(self) -> Path:
        """Where the trials' run folders are."""
        return self.path / "trials"

    def study(self) -> Study:
        """What is searched here.

        Raises:
            UserError: if ``study.json`` is damaged.
        """
        try:
            return Study.from_json(json.loads(read_bounded(self.path / STUDY_FILE, _MOST_BYTES)))
        except (AttributeError, KeyError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise self._damaged(STUDY_FILE, error) from error

    def trials(self) -> list[Trial]:
        """The trials so far, in their order.

        Raises:
            UserError: if ``trials.jsonl`` is damaged.
        """
        if not (self.path / TRIALS_FILE).exists():
            return []
        try:
            rows = [json.loads(line) for line in read_bounded(self.path / TRIALS_FILE, _MOST_BYTES).splitlines()]
            trials = [Trial.from_json(row) for row in rows]
            if [trial.index for trial in trials] != list(range(len(trials))):
                raise ValueError("its trials are not numbered from 0 on")
            if any(trial.total < 1 for trial in trials if trial.curve):
                raise ValueError("it does not say how long a run is")
            study = self.study()
            for trial in trials:
                study.require_searched(trial.settings)
            return trials
        except (
            AttributeError,
            KeyError,
            OSError,
            OverflowError,
            RecursionError,
            TypeError,
            UserError,
            ValueError,
        ) as error:
            raise self._damaged(TRIALS_FILE, error) from error

    def write_trials(self, trials: Sequence[Trial]) -> None:
        """Replace ``trials.jsonl``."""
        rows = (json.dumps(trial.to_json()) + "\n" for trial in trials)
        write_atomically(self.path / TRIALS_FILE, "".join(rows))

    def write_best(self, settings: dict[str, Any]) -> Path:
        """Write ``best.json``, for ``synrl train EXPERIMENT --config``."""
        write_atomically(self.path / _BEST, json.dumps(settings, indent=2) + "\n")
        return self.path / _BEST

    def _damaged(self, name: str, error: Exception) -> UserError:
        problem = f"{self.path / name} is damaged ({reason_of(error)})"
        return UserError(problem, "restore it or start a new study")
