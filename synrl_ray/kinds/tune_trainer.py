"""What trainers with Tune trainables share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class TuneTrainer:
    """Trains with a Tune trainable, to its end: its learning-rate schedule is made for that."""

    trainable: Any

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Never before the end."""
        return False

    def snapshot(self) -> None:
        """Evaluations are made in between."""

    def note_evaluation(self, columns: Mapping[str, float | None]) -> None:
        """Never called."""

    def distributions(self) -> dict[str, np.ndarray]:
        """None."""
        return {}

    def optimizers(self) -> list[Any]:
        """The trainable's."""
        return [self.trainable.optimizer]

    def save(self, path: Path) -> None:
        """The trainable's checkpoint."""
        path.mkdir()
        self.trainable.save_checkpoint(str(path))

    def restore(self, path: Path) -> None:
        """From the trainable's checkpoint."""
        self.trainable.load_checkpoint(path)

    def close(self) -> None:
        """End what the trainable has started."""
        self.trainable.cleanup()
