"""One run's folder: every file is whole or absent, and the checkpoint is replaced only by a complete one."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import make_folder, read_bounded, write_atomically
from synrl_ray.policies.description import DESCRIPTION_FILE
from synrl_ray.results import Result, read_result, write_result
from synrl_ray.running.checkpoints import Checkpoint, Checkpoints, Position
from synrl_ray.running.folder_copy import FolderCopy
from synrl_ray.running.imports import sign_modules
from synrl_ray.running.lock import LOCK_FILE, locked_folder, require_no_links
from synrl_ray.running.metrics_file import MetricsFile
from synrl_ray.running.metrics_table import METRICS_TABLE, read_table
from synrl_ray.running.spec import RunSpec

__all__ = ["Position", "RunFolder"]

CONFIG, METRICS = "config.json", "metrics.jsonl"
_MOST_BYTES = {CONFIG: 2**20}
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR)


class RunFolder:
    """Files of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copy = FolderCopy(path)
        self._metrics = MetricsFile(path / METRICS)
        self._checkpoints = Checkpoints(path)

    @staticmethod
    def require_free(path: Path) -> None:
        """Raise :class:`UserError` if a new run cannot start in that folder because something is there."""
        if not path.exists() or (path.is_dir() and not {entry.name for entry in path.iterdir()} - {LOCK_FILE}):
            return
        if (path / CONFIG).exists():
            raise UserError(
                f"run folder {path} exists",
                f"continue it with `{command('train', '--resume', path)}`, or choose another --run-dir",
            )
        raise UserError(f"{path} exists and is no run folder", "choose another --run-dir")

    @staticmethod
    def create(path: Path, spec: RunSpec, modules: Iterable[str] = ()) -> RunFolder:
        """Start a new run; ``modules`` as in :meth:`write_spec`.

        Raises:
            UserError: if the folder already holds something, or cannot be written.
        """
        RunFolder.require_free(path)
        folder = RunFolder(path)
        try:
            make_folder(path)
            with locked_folder(path, "run folder"):  # several may come at the same moment
                RunFolder.require_free(path)
                folder.write_spec(spec, modules)
        except OSError as error:
            problem = f"run folder {path} cannot be written ({error.strerror or reason_of(error)})"
            raise UserError(problem, "choose another --run-dir") from error
        return folder

    @staticmethod
    def open(path: Path) -> RunFolder:
        """Open an existing run.

        Raises:
            UserError: if the folder is not a run's.
        """
        if not (path / CONFIG).is_file():
            raise UserError(f"{path} is no run folder (no {CONFIG})", "name a folder that `synrl train` has made")
        return RunFolder(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one trainer at a time.

        Raises:
            UserError: if another process trains in it, it is not on this machine, or a link leads out of it.
        """
        if not (self.path / CONFIG).is_file():
            remedy = "on a cluster of several nodes, name a shared folder as --run-dir"
            raise UserError(f"run folder {self.path} is not on this machine", remedy)
        require_no_links(self.path, "run folder")
        with locked_folder(self.path, "run folder"):
            yield

    @contextmanager
    def writable(self) -> Iterator[None]:
        """Turn a full disk, lost permission and the like inside the block into one line; the last checkpoint stays."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            where = f": {error.filename}" if error.filename else ""  # other packages have words of their own
            problem = f"run folder {self.path} cannot be written ({os.strerror(error.errno)}{where})"
            raise UserError(problem, f"mend that, then `{command('train', '--resume', self.path)}`") from error

    def write_spec(self, spec: RunSpec, modules: Iterable[str] = ()) -> None:
        """Write what runs here to ``config.json``, and that this user lets it import ``modules``."""
        write_atomically(self.path / CONFIG, json.dumps(spec.to_json(), indent=2) + "\n")
        sign_modules(modules, self.path / CONFIG)

    def spec(self) -> RunSpec:
        """What runs here.

        Raises:
            UserError: if ``config.json`` is damaged.
        """
        try:
            return RunSpec.from_json(self._read(CONFIG))
        except (AttributeError, KeyError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
            problem = f"{self.path / CONFIG} is damaged ({reason_of(error)})"
            raise UserError(problem, "restore it or start a new run") from error

    def _read(self, name: str) -> Any:
        return json.loads(read_bounded(self.path / name, _MOST_BYTES[name]))

    # --- metrics ---------------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one iteration's row to ``metrics.jsonl``, or further columns of it; see :class:`MetricsFile`."""
        self._metrics.append(row)

    def metrics(self, *columns: str) -> list[dict[str, Any]]:
        """All rows that can be read, or those of them that have a number in each of the columns.

        Of a published seed they are those that were kept, in ``metrics.csv``.
        """
        rows = self._metrics.rows() or read_table(self.path / METRICS_TABLE)
        return [row for row in rows if all(row.get(column) is not None for column in columns)]

    def rewind_metrics(self, iteration: int) -> list[str]:
        """Drop the rows after ``iteration`` and return what is to be told; see :meth:`MetricsFile.rewind`."""
        return self._metrics.rewind(iteration)

    # --- checkpoint ------------------------------------------------------------------------------------------

    def save_checkpoint(self, write: Callable[[Path], None], position: Position, *, own: bool = True) -> None:
        """Write the newest checkpoint and keep the one before it; see :meth:`Checkpoints.save`."""
        self._metrics.sync()
        self._checkpoints.save(write, position, own=own)

    def checkpoint(self) -> Checkpoint | None:
        """Look at the newest whole checkpoint; see :meth:`Checkpoints.newest`."""
        found = self._checkpoints.newest()
        self._require_not_lost(found)
        return found

    @contextmanager
    def opened_checkpoint(self, *, only_own: bool) -> Iterator[Checkpoint | None]:
        """Give a private copy of it, which nothing changes between check and load; see :meth:`Checkpoints.opened`."""
        with self._checkpoints.opened(only_own=only_own) as found:
            self._require_not_lost(found)
            yield found

    def _require_not_lost(self, found: Checkpoint | None) -> None:
        """A run's policy is written after its first checkpoint: where there is one, there was the other.

        Raises:
            UserError: if the checkpoints are gone; beginning anew would overwrite what the run has given.
        """
        if found is None and (self.path / DESCRIPTION_FILE).exists():
            rows = self._metrics.rows()
            reached = f", and it had come to iteration {rows[-1]['iteration']:,}" if rows else ""
            raise UserError(
                f"the checkpoints of run {self.path} are gone{reached}", "restore them, or start a new run elsewhere"
            )

    # --- result ----------------------------------------------------------------------------------------------

    def write_result(self, result: Result) -> None:
        """Write ``result.json``."""
        write_result(self.path, result)

    def result(self) -> Result | None:
        """What ``result.json`` says, ``None`` if the run has not ended.

        Raises:
            UserError: if it is damaged.
        """
        return read_result(self.path)
