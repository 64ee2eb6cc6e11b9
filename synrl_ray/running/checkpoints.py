"""The two newest checkpoints of a run: each is sealed, and replaced only by a complete one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.running.seal import examine, seal

_POSITION = "position.json"


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

    state: Path
    """The folder that the task has written."""
    position: Position
    is_own: bool
    """This user's process has made it."""
    damaged: Path | None = None
    """The newer one in whose place it is taken."""


class Checkpoints:
    """Of one run, ``checkpoint`` and the one before it, ``checkpoint.old``.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._current, self._previous, self._fresh = (run / f"checkpoint{end}" for end in ("", ".old", ".new"))

    def save(self, write: Callable[[Path], None], position: Position) -> None:
        """Write the newest. ``write(folder)`` fills a new one; until it is complete and sealed, nothing is replaced."""
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._fresh.mkdir()
        write(self._fresh / "algorithm")
        (self._fresh / _POSITION).write_text(json.dumps(asdict(position)) + "\n")
        seal(self._fresh)
        if self._current.exists() and examine(self._current).whole:
            shutil.rmtree(self._previous, ignore_errors=True)
            os.rename(self._current, self._previous)
        else:  # a damaged one must not take the place of the one before it
            shutil.rmtree(self._current, ignore_errors=True)
        os.rename(self._fresh, self._current)

    def newest(self) -> Checkpoint | None:
        """The newest whole one; ``None`` before the first.

        Raises:
            UserError: if there are some, and none of them is whole.
        """
        damaged: Path | None = None
        for folder in (self._current, self._previous):
            if not folder.exists():
                continue
            known, position = examine(folder), _position(folder)
            if known.whole and position is not None:
                return Checkpoint(folder / "algorithm", position, known.own, damaged)
            damaged = damaged or folder
        if damaged is not None:
            raise UserError(f"checkpoint {damaged} is damaged", "restore it or start a new run")
        return None


def _position(folder: Path) -> Position | None:
    try:
        return Position(**json.loads((folder / _POSITION).read_text()))
    except (OSError, TypeError, ValueError):
        return None
