"""What an engine of MAML computes, whichever way it does.

Legend: M tasks, S inner steps, E inner steps after which the query set is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.meta.tasks import TaskBatch

Parameters = dict[str, Tensor]
Rates = Mapping[str, Tensor | float]


@dataclass(frozen=True)
class InnerLoop:
    """How tasks are adapted and judged.

    Args:
        num_steps: S.
        second_order: whether gradients pass through the inner gradients.
        query_weights: of the query loss after 0 … S inner steps, S + 1 of them; where one is zero, that loss is not
            computed.
        by_support: whether batch norm takes the moments of the support set where queries are judged, not their own.
    """

    num_steps: int
    second_order: bool
    query_weights: tuple[float, ...]
    by_support: bool = False


@dataclass(frozen=True)
class TaskLosses:
    """What adapting a chunk of tasks has given.

    Args:
        total: weighted sum of each task's query losses ``[M]``; differentiable.
        support: losses before each inner step ``[M, S]``.
        query: query losses that were computed ``[M, E]``.
        accuracy: of the query set ``[M, E]``; ``None`` where the loss knows no right and wrong.
    """

    total: Tensor
    support: Tensor
    query: Tensor
    accuracy: Tensor | None


class Engine(Protocol):
    """Adapts the parameters of one model to many tasks."""

    @property
    def knows_support_statistics(self) -> bool:
        """Whether batch norm can take the moments of the support set where queries are judged."""

    def losses(self, parameters: Parameters, rates: Rates, batch: TaskBatch, inner: InnerLoop) -> TaskLosses:
        """Adapt to each task and judge the result.

        Args:
            parameters: all of the model, by name.
            rates: inner learning rate of each parameter that adapts: a number, or a tensor that fits it.
            batch: the tasks.
            inner: how.
        """

    def adapt(self, parameters: Parameters, rates: Rates, batch: TaskBatch, num_steps: int) -> Parameters:
        """Parameters after the inner steps, ``[M, ...]`` each, detached."""

    def explained(self, error: RuntimeError, batch: TaskBatch) -> UserError | None:
        """What a failure of torch means for the user, where it is about the model and this engine."""
