"""``metrics.jsonl``: a row an iteration, of which neither a crash nor a damaged line loses the others.

What becomes known of an iteration later, as by an evaluation parallel to training, is a line of its own with the same
``iteration``. Here, and nowhere else, the lines of an iteration become one row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import open_regular, write_atomically

Row = dict[str, Any]


class MetricsFile:
    """The rows of one run.

    Args:
        path: the file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, row: Row) -> None:
        """Add a row, or further columns of an iteration that has one."""
        with self._opened(os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            file.write(json.dumps(row).encode() + b"\n")

    def sync(self) -> None:
        """Write the rows to the disk: a checkpoint must not know of an iteration that a power cut has taken."""
        if self._path.exists():
            with self._opened(os.O_WRONLY) as file:
                os.fsync(file.fileno())

    def rows(self) -> list[Row]:
        """All rows that can be read, one for each iteration.

        Raises:
            UserError: if the file itself cannot be read.
        """
        return _joined(row for _, row in self._lines() if row is not None)

    def rewind(self, iteration: int) -> list[str]:
        """Drop the rows after ``iteration``, which will be trained again, and what a crash has left of the last line.

        Returns:
            What is to be told: damaged lines between the rows are left out, and the file is kept as it was.
        """
        lines = self._lines()
        damaged = [number for number, row in lines if row is None]
        told = []
        if damaged:
            kept = self._path.with_name(f"{self._path.name}.damaged")
            with open_regular(self._path) as file:
                write_atomically(kept, file.read())
            which = f"line {damaged[0]}" if len(damaged) == 1 else f"{len(damaged)} lines, the first line {damaged[0]},"
            told = [f"{which} of {self._path} cannot be read and left out; the file as it was is {kept.name}"]
        rows = _joined(row for _, row in lines if row is not None and row["iteration"] <= iteration)
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        return told

    def _lines(self) -> list[tuple[int, Row | None]]:
        """Number and row of each line, ``None`` where it holds none; without what a crash has left of the last."""
        try:
            with open_regular(self._path) as file:
                lines = [(number, _row(line), line) for number, line in enumerate(file, 1)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            problem = f"{self._path} cannot be read ({reason_of(error)})"
            raise UserError(problem, "restore it or start a new run") from error
        return [(number, row) for number, row, line in lines if row is not None or line.endswith(b"\n")]

    def _opened(self, flags: int) -> Any:
        """The file itself, not what a link in its place leads to."""
        return os.fdopen(os.open(self._path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "ab")


def _joined(lines: Iterable[Row]) -> list[Row]:
    rows: dict[int, Row] = {}
    for line in lines:
        rows.setdefault(line["iteration"], {}).update(line)
    return [rows[iteration] for iteration in sorted(rows)]


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (RecursionError, ValueError):
        return None
    is_row = isinstance(row, dict) and type(row.get("iteration")) is int
    return row if is_row and all(value is None or _is_number(value) for value in row.values()) else None


def _is_number(value: Any) -> bool:
    """JSON has whole numbers that no float holds."""
    return type(value) is float or (type(value) is int and abs(value) < sys.float_info.max)
