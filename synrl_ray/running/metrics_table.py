"""``metrics.csv``: what a published seed keeps of its ``metrics.jsonl``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded

METRICS_TABLE = "metrics.csv"
_MOST_BYTES = 2**26


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of that file, which may be a stranger's; none where there is no file.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return rows_of_csv(read_bounded(path, _MOST_BYTES).decode())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({reason_of(error)})", "restore it, or leave it out") from error


def thinned(rows: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """At most so many rows, the last among them: those with an evaluation first, then others, evenly spread."""
    judged = [i for i, row in enumerate(rows) if any(name.startswith("evaluation_") for name in row)]
    others = sorted({*range(len(rows))} - {*judged})
    kept = _spread(judged, most)
    kept += _spread(others, most - len(kept))
    if rows and len(rows) - 1 not in kept:
        kept = [*kept[: most - 1], len(rows) - 1]
    return [rows[i] for i in sorted(kept)]


def _spread(items: Sequence[int], most: int) -> list[int]:
    """All items, or so many of them, evenly spread and with the last one."""
    if len(items) <= most:
        return list(items)
    return [items[(i + 1) * len(items) // most - 1] for i in range(most)]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table, with six digits of each number; a cell is empty where a row has no such column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def rows_of_csv(text: str) -> list[dict[str, Any]]:
    """Inverse of :func:`as_csv`: cells that are no finite number are left out."""
    reader = csv.DictReader(io.StringIO(text))
    return [{name: value for name, cell in row.items() if (value := _number(cell)) is not None} for row in reader]


def _number(cell: Any) -> float | None:
    for number in (int, float):
        try:
            value = number(cell)
            return value if math.isfinite(value) else None
        except (OverflowError, TypeError, ValueError):
            continue
    return None


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
