"""Committed results as the tables show them: read once, figures with their intervals as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from synrl_ray.results import Result, read_result

RESULTS = Path(__file__).parents[1] / "experiments" / "results"


@cache
def result(place: str) -> Result:
    """A committed result, such as ``cartpole-ppo/spiking``."""
    found = read_result(RESULTS / place)
    if found is None:
        raise FileNotFoundError(f"experiments/results/{place}/result.json")
    return found


def rows_of(name: str) -> dict[str, dict[str, Any]]:
    """Rows of a table whose runs are not committed, by condition."""
    rows = json.loads((RESULTS / "tables" / f"{name}.json").read_text())["rows"]
    return {row["condition"]: row for row in rows}


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def with_interval(found: Result, figure: str, digits: int, scale: float = 1, unit: str = "") -> str:
    """``500.0 (498.0 to 500.0)``."""
    interval, value = found.interval(figure), scale * found.figure(figure)
    bounds = "" if interval is None else f" ({scale * interval.low:.{digits}f} to {scale * interval.high:.{digits}f})"
    return f"{value:.{digits}f}{unit}{bounds}"


def spread(cell: Sequence[float | None] | None, digits: int = 0, scale: float = 1) -> str:
    """The same of a mean with the ends of its interval, which may be unknown."""
    if cell is None or cell[0] is None:
        return "never"
    mean, *ends = (None if value is None else f"{scale * value:,.{digits}f}" for value in cell)
    return f"{mean} ({ends[0]} to {ends[1]})" if None not in ends else str(mean)


def decision_energy(found: Result) -> str:
    picojoules = (found.energy or {})["policy"]["energy_pj"]
    return f"{picojoules / 1e3:.1f} nJ" if picojoules < 1e5 else f"{picojoules / 1e6:.1f} µJ"


def steps_to_target(found: Result) -> list[int]:
    return [each.steps_to_target for each in found.training if each.steps_to_target is not None]


def at_target(found: Result) -> str:
    return "-" if found.target is None else f"{found.target.at_end} of {len(found.training)}"


def by_step(found: Result, name: str) -> Sequence[float]:
    assert found.adaptation is not None
    return found.adaptation.by_step[name]


def score_after_adaptation(found: Result, name: str, digits: int) -> str:
    """A share with its interval, and the seeds' where there are several."""
    text = with_interval(found, name, digits, 100, " %")
    each = found.per_seed.get(name)
    return text if not each else f"{text[:-1]}; seeds {', '.join(f'{100 * value:.{digits}f}' for value in each)})"


def duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
