"""What has become of a study's trials, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

State = Literal["running", "finished", "stopped", "failed"]


@dataclass(kw_only=True)
class Trial:
    """One training of a study, as far as it has come. A row of ``trials.jsonl``."""

    index: int
    settings: dict[str, Any]
    """The searched ones; with population-based training, those that it has now."""
    state: State = "running"
    steps: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    """Steps and score of each evaluation."""
    total: int = 0
    """Steps of a whole run; 0 before it is known."""
    unit: str = "env_steps"
    """What steps count."""
    score_name: str = "score"
    error: str | None = None

    @property
    def name(self) -> str:
        """Its folder's name, below ``trials/``."""
        return f"{self.index:04d}"

    @property
    def score(self) -> float | None:
        """Score of the last evaluation."""
        return self.curve[-1][1] if self.curve else None

    @property
    def progress(self) -> list[float]:
        """Where the evaluations were, in percent of a whole run."""
        return [100 * steps / self.total for steps, _ in self.curve]

    @property
    def rank(self) -> tuple[float, float]:
        """What the best trial has most of: its score and, among equals, the mean over all evaluations."""
        scores = [score for _, score in self.curve]
        return (scores[-1], sum(scores) / len(scores)) if scores else (float("-inf"), float("-inf"))

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        row: dict[str, Any] = {"trial": self.index, "state": self.state, "score": self.score, "steps": self.steps}
        row |= {"total": self.total, "unit": self.unit, "score_name": self.score_name, "error": self.error}
        return {**row, "settings": self.settings, "curve": self.curve}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Trial:
        """Inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: if the data are not a trial's.
        """
        if data["state"] not in get_args(State):
            raise ValueError(f"state {data['state']!r} is not known")
        return Trial(
            index=int(data["trial"]),
            settings=dict(data["settings"]),
            state=data["state"],
            steps=int(data["steps"]),
            curve=[(int(steps), float(score)) for steps, score in data["curve"]],
            total=int(data["total"]),
            unit=str(data["unit"]),
            score_name=str(data["score_name"]),
            error=data["error"],
        )


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial that has done best; ``None`` if none has been evaluated."""
    judged = [trial for trial in trials if trial.curve and trial.state != "failed"]
    return max(judged, key=lambda trial: trial.rank) if judged else None


def unfinished(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that an earlier session has left before their end."""
    return [trial for trial in trials if trial.state == "running"]
