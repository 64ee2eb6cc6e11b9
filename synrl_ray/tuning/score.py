"""One number for each evaluation of a training, larger for better, whatever kind of experiment it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORST = -1e12
"""Stands in for a score that is missing, such as an infinite regret: Tune's schedulers want a number."""

_SCORES = (
    ("evaluation_success_rate", 1, "success rate"),
    ("evaluation_regret", -1, "minus exact regret"),
    ("evaluation_return_mean", 1, "greedy return"),
    ("evaluation_accuracy", 1, "validation accuracy"),
    ("evaluation_loss", -1, "minus validation loss"),
)


def score_of(row: Mapping[str, Any]) -> tuple[float, str] | None:
    """Score and its name, from a row of ``metrics.jsonl``; ``None`` where the row holds no evaluation.

    An evaluation without any number has the score :data:`WORST` and no name.

    Evaluations during training use seeds, images or tasks that the final one never sees, so a search may look at them.
    """
    for column, sign, name in _SCORES:
        value = row.get(column)
        if value is not None:
            return sign * float(value) + 0.0, name  # + 0.0 makes a regret of zero no "-0.0"
    return (WORST, "") if any(column.startswith("evaluation_") for column in row) else None


def words(unit: str) -> str:
    """A counter's name as a reader says it."""
    return {"env_steps": "environment steps", "samples": "images"}.get(unit, unit.replace("_", " "))
