"""One number for each evaluation of a training, larger for better, whatever kind of experiment it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synrl_ray.running.kind import Kind

WORST = -1e12
"""Stands in for a score that is missing, such as an infinite regret: Tune's schedulers want a number."""


def score_of(kind: Kind[Any], row: Mapping[str, Any]) -> tuple[float, str] | None:
    """Score and its name, from a row of ``metrics.jsonl``; ``None`` where the row holds no evaluation.

    An evaluation without any number has the score :data:`WORST` and no name.

    Evaluations during training use seeds, images or tasks that the final one never sees, so a search may look at them.
    """
    for column, sign, name in kind.scores:
        value = row.get(column)
        if value is not None:
            return sign * float(value) + 0.0, name  # + 0.0 makes a regret of zero no "-0.0"
    return (WORST, "") if any(column.startswith("evaluation_") for column in row) else None
