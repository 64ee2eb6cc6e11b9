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
    unit: str = "steps"
    """What is counted, in a word."""
    steps: int = 0
    total: int = 0
    figures: tuple[tuple[str, float], ...] = ()
    """Name and value of what is worth a look, newest values."""
    steps_per_second: float = 0.0
    notices: tuple[str, ...] = ()
    """What is to be said once, such as that a worker process died and was restarted."""

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the last step; ``None`` before there is a rate."""
        if self.steps_per_second <= 0:
            return None
        return max(self.total - self.steps, 0) / self.steps_per_second


Watcher = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Watch nothing."""
