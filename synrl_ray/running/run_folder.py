"""One run's folder: every file is whole or absent, and the checkpoint is replaced only by a complete one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.files import write_atomically
from synrl_ray.running.checkpoints import Checkpoint, Checkpoints, Position
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.storage import FolderCopy

__all__ = ["Position", "RunFolder"]

_CONFIG, _METRICS, _RESULT = "config.json", "metrics.jsonl", "result.json"


class RunFolder:
    """Files of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = FolderCopy(path)

    @staticmethod
    def require_free(path: Path) -> None:
        """Raise :class:`UserError` if a new run cannot start in that folder because something is there."""
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        if (path / _CONFIG).exists():
            raise UserError(
                f"run folder {path} exists",
                f"continue it with `synrl train --resume {path}`, or choose another --run-dir or --seed",
            )
        raise UserError(f"{path} exists and is no run folder", "choose another --run-dir")

    @staticmethod
    def create(path: Path, spec: RunSpec) -> RunFolder:
        """Start a new run.

        Raises:
            UserError: if the folder already holds something, or cannot be written.
        """
        RunFolder.require_free(path)
        folder = RunFolder(path)
        try:
            folder.write_spec(spec)
        except OSError as error:
            problem = f"run folder {path} cannot be written ({error.strerror})"
            raise UserError(problem, "choose another --run-dir") from error
        return folder

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            UserError: if the folder is not a run's.
        """
        if not (path / _CONFIG).is_file():
            raise UserError(f"{path} is no run folder (no {_CONFIG})", "name a folder that `synrl train` has made")
        return RunFolder(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one trainer at a time.

        Raises:
            UserError: if another process trains in it, or it is not on this machine.
        """
        try:
            config = (self.path / _CONFIG).open()
        except FileNotFoundError as error:
            remedy = "on a cluster of several nodes, name a shared folder as --run-dir"
            raise UserError(f"run folder {self.path} is not on this machine", remedy) from error
        with config as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"run folder {self.path} is in use", "wait for the other training to end") from error
            yield

    @contextmanager
    def writable(self) -> Iterator[None]:
        """Turn a full disk or lost permission inside the block into one line; the last checkpoint stays whole."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
                raise
            problem = f"run folder {self.path} cannot be written ({os.strerror(error.errno)})"
            raise UserError(problem, f"mend that, then `synrl train --resume {self.path}`") from error

    def write_spec(self, spec: RunSpec) -> None:
        """Write what runs here to ``config.json``."""
        write_atomically(self.path / _CONFIG, json.dumps(spec.to_json(), indent=2) + "\n")

    def spec(self) -> RunSpec:
        """What runs here.

        Raises:
            UserError: if ``config.json`` is damaged.
        """
        try:
            return RunSpec.from_json(json.loads((self.path / _CONFIG).read_text()))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path / _CONFIG} is damaged ({reason})", "restore it or start a new run") from error

    # --- metrics ---------------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one iteration's row to ``metrics.jsonl``."""
        with (self.path / _METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows; a last line cut short by a crash is left out."""
        rows: list[dict[str, Any]] = []
        if not (self.path / _METRICS).exists():
            return rows
        for line in (self.path / _METRICS).read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def rewind_metrics(self, iteration: int) -> None:
        """Drop the rows after ``iteration``, which will be trained again."""
        rows = [row for row in self.metrics() if row["iteration"] <= iteration]
        write_atomically(self.path / _METRICS, "".join(json.dumps(row) + "\n" for row in rows))

    # --- checkpoint ------------------------------------------------------------------------------------------

    def save_checkpoint(self, write: Callable[[Path], None], position: Position) -> None:
        """Write the newest checkpoint and keep the one before it; see :meth:`Checkpoints.save`."""
        Checkpoints(self.path).save(write, position)

    def checkpoint(self) -> Checkpoint | None:
        """The newest whole checkpoint; see :meth:`Checkpoints.newest`."""
        return Checkpoints(self.path).newest()

    # --- result ----------------------------------------------------------------------------------------------

    def write_result(self, result: dict[str, Any]) -> None:
        """Write ``result.json``."""
        write_atomically(self.path / _RESULT, json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any] | None:
        """What ``result.json`` holds, ``None`` if the run has not ended."""
        path = self.path / _RESULT
        if not path.exists():
            return None
        try:
            data: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged", "run `synrl evaluate` or train again") from error
        return data
