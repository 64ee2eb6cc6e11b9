"""What the outer loop trains, whatever its tasks are.

Legend: M tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from synrl_ray.errors import UserError


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


def adapting_names(model: nn.Module, anil: bool) -> tuple[str, ...]:
    """Names of the parameters that adapt: all, or those of the last module that has any of its own.

    Raises:
        UserError: for a model that has nothing to adapt.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise UserError("the model has no parameters that could adapt", "give it some that require gradients")
    if not anil:
        return tuple(names)
    head = names[-1].rpartition(".")[0]
    return tuple(name for name in names if name.rpartition(".")[0] == head)
