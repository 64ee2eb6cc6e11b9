"""What a running training tells whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A snapshot of one run."""

    label: str
    """Which run: policy and seed."""
    phase: Literal["starting", "training", "evaluating", "done"]
    env_steps: int = 0
    total_steps: int = 0
    return_mean: float | None = None
    """Mean training return of the last episodes."""
    evaluation_mean: float | None = None
    """Mean return of the last greedy evaluation."""
    steps_per_second: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the last step; ``None`` before there is a rate."""
        if self.steps_per_second <= 0:
            return None
        return max(self.total_steps - self.env_steps, 0) / self.steps_per_second


Watcher = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Watch nothing."""
