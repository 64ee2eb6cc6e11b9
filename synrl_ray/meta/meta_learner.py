"""What the outer loop trains, whatever its tasks are.

Legend: M tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class MetaLearner(nn.Module, ABC):
    """``parameters()`` are the meta-parameters.

    Attributes:
        epochs: meta-steps on one meta-batch.
    """

    epochs: int = 1

    @abstractmethod
    def meta_loss(
        self, batch: Any, iteration: int, behaviour: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of tasks, a scalar to call ``backward()`` on, and figures of each task ``[M]``.

        Args:
            batch: what the tasks' distribution has drawn.
            iteration: meta-iterations so far.
            behaviour: the ``state_dict()`` at the first of the meta-steps on this batch, whose episodes are learned
                from; ``None`` at the first one.

        Raises:
            NonFiniteError: if a task's loss is; it names the task's seed.
        """

    @property
    def rates(self) -> list[nn.Parameter]:
        """Those of the meta-parameters that have a meta learning rate of their own."""
        return []
