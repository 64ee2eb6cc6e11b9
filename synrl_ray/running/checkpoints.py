"""The two newest checkpoints of a run: each is sealed, and replaced only by a complete one.

A checkpoint can be a pickle, and comes from whoever could write in the folder. So what is restored is a private copy
that the seal was compared with (:meth:`Checkpoints.opened`): nothing can be swapped between the check and the load.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import open_regular, read_bounded, remove, rename_durably, sync_tree
from synrl_ray.running.seal import examine, seal

_POSITION, _STATE = "position.json", "algorithm"
_MOST_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run has come, as its checkpoint knows it."""

    iteration: int = 0
    steps: int = 0
    """Units trained: environment steps, or samples."""
    episodes: int = 0
    wall_seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """One that is whole."""

    folder: Path
    """Where it lies in the run's folder."""
    state: Path
    """The folder that the trainer has written: in the run's folder, or in a private copy."""
    position: Position
    is_own: bool
    """This user has made it."""
    damaged: Path | None = None
    """The newer one in whose place it is taken."""

    def require_own(self) -> None:
        """Refuse a checkpoint of another user or machine.

        Raises:
            UserError: for such a one.
        """
        if not self.is_own:
            raise UserError(
                f"checkpoint {self.folder} was not made by you on this machine, and loading it can execute anything "
                "(RLlib's checkpoints are pickles)",
                "if you trust whoever made it, add --trust",
            )


class Checkpoints:
    """The checkpoints of one run: ``checkpoint`` and the one before it, ``checkpoint.old``.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._current, self._previous, self._fresh = (run / f"checkpoint{end}" for end in ("", ".old", ".new"))

    def save(self, write: Callable[[Path], None], position: Position, *, own: bool = True) -> None:
        """Write the newest. ``write(folder)`` fills a new one; until it is complete and sealed, nothing is replaced.

        Each step is on the disk before the next begins, so that a power cut leaves one whole checkpoint at least.
        ``own`` is false for what this user has only copied.
        """
        remove(self._fresh)
        try:
            self._fresh.mkdir()
            write(self._fresh / _STATE)
            (self._fresh / _POSITION).write_text(json.dumps(asdict(position)) + "\n")
            seal(self._fresh, own=own)
            sync_tree(self._fresh)
        except BaseException:  # a disk that is full must not be kept full by a part of a checkpoint
            shutil.rmtree(self._fresh, ignore_errors=True)
            raise
        if self._current.exists() and examine(self._current).whole:
            remove(self._previous)
            rename_durably(self._current, self._previous)
        else:  # a damaged one must not take the place of the one before it
            remove(self._current)
        rename_durably(self._fresh, self._current)

    def newest(self) -> Checkpoint | None:
        """Look at the newest whole one; ``None`` before the first. To restore it, take :meth:`opened`.

        Raises:
            UserError: if there are some, and none of them is whole.
        """
        return self._first_whole(lambda folder: folder)

    @contextmanager
    def opened(self, *, only_own: bool) -> Iterator[Checkpoint | None]:
        """Give the newest whole one, as a private copy that is gone after the block; ``None`` before the first.

        Args:
            only_own: refuse one that this user has not made.

        Raises:
            UserError: as :meth:`newest`; for one that is to be refused; if there is no room for the copy.
        """
        with tempfile.TemporaryDirectory(prefix="synrl-checkpoint-", ignore_cleanup_errors=True) as private:
            found = self._first_whole(lambda folder: _copied(folder, Path(private, folder.name)))
            if found is not None and only_own:
                found.require_own()
            yield found

    def _first_whole(self, at_hand: Callable[[Path], Path]) -> Checkpoint | None:
        """The newest whole one. ``at_hand`` says where what is examined lies."""
        damaged: Path | None = None
        for folder in (self._current, self._previous):
            if not os.path.lexists(folder):
                continue
            if not folder.is_symlink():
                with suppress(OSError, ValueError):
                    there = at_hand(folder)
                    known, position = examine(there), _position(there)
                    if known.whole and position is not None:
                        return Checkpoint(folder, there / _STATE, position, known.own, damaged)
            damaged = damaged or folder
        if damaged is not None:
            raise UserError(f"checkpoint {damaged} is damaged", "restore it or start a new run")
        return None


def _position(folder: Path) -> Position | None:
    try:
        position = Position(**json.loads(read_bounded(folder / _POSITION, _MOST_BYTES)))
    except (OSError, RecursionError, TypeError, ValueError):
        return None
    counts = (position.iteration, position.steps, position.episodes)
    are_counts = all(type(count) is int and 0 <= count < 2**63 for count in counts)
    seconds = position.wall_seconds
    is_time = type(seconds) in (int, float) and math.isfinite(seconds) and seconds >= 0
    return replace(position, wall_seconds=float(seconds)) if are_counts and is_time else None


def _copied(source: Path, target: Path) -> Path:
    """A copy of a folder's directories and regular files.

    Raises:
        UserError: if there is no room for it.
        OSError, ValueError: if it cannot be read, or holds anything else.
    """
    try:
        for root, directories, files in os.walk(source, onerror=_give_up):
            there = target / Path(root).relative_to(source)
            there.mkdir(mode=0o700)
            for name in directories:
                if not stat.S_ISDIR(os.lstat(os.path.join(root, name)).st_mode):
                    raise ValueError(f"{name} is a link")
            for name in files:
                path = Path(root, name)
                if path.is_symlink():
                    raise ValueError(f"{name} is a link")
                with open_regular(path) as content, (there / name).open("wb") as copy:
                    shutil.copyfileobj(content, copy)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        problem = f"there is no room for a copy of checkpoint {source} in {target.parent} ({reason_of(error)})"
        raise UserError(problem, "let TMPDIR name a folder with more room") from error
    return target


def _give_up(error: OSError) -> None:
    raise error
