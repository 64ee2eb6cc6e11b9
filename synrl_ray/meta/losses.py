"""Losses of many tasks at once, and their gradients as expressions that can be differentiated again.

Legend: M tasks, K samples of each, O outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from synrl_ray.errors import NonFiniteError


class TaskLoss(ABC):
    """What is minimised on each task: a mean over its samples."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each task ``[M]``, of outputs ``[M, K, O]`` and targets ``[M, K, ...]``."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Derivative of each task's loss by its own outputs, ``[M, K, O]``; may be differentiated again."""
        with torch.enable_grad():
            leaf = outputs if outputs.requires_grad else outputs.detach().requires_grad_()
            return torch.autograd.grad(self(leaf, targets).sum(), leaf, create_graph=True)[0]

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """The share of samples ``[M]`` that are right, where samples are right or wrong."""
        return None


class SquaredError(TaskLoss):
    """Squared difference, averaged over samples and outputs; targets ``[M, K, O]``."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`TaskLoss`."""
        return (outputs - targets).square().flatten(1).mean(1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`TaskLoss`, without a graph of the loss."""
        return (outputs - targets) * (2 / outputs[0].numel())


class CrossEntropy(TaskLoss):
    """Cross entropy of classes, averaged over samples; outputs are logits, targets ``[M, K]`` int64."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`TaskLoss`."""
        likelihood = outputs.log_softmax(-1).gather(-1, targets.unsqueeze(-1))
        return -likelihood.squeeze(-1).mean(1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`TaskLoss`, without a graph of the loss."""
        hot = torch.nn.functional.one_hot(targets, outputs.shape[-1])
        return (outputs.softmax(-1) - hot) / outputs.shape[1]

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The share of samples ``[M]`` whose largest logit is the right one."""
        return (outputs.argmax(-1) == targets).to(outputs.dtype).mean(1)


def refuse_non_finite(values: Tensor, seeds: Sequence[int], what: str, where: str) -> None:
    """Refuse values of tasks ``[M, ...]`` that are not finite.

    Raises:
        NonFiniteError: naming the seed of the first such task.
    """
    finite = torch.isfinite(values.detach()).reshape(len(seeds), -1).all(1)
    if not bool(finite.all()):
        seed = seeds[int((~finite).nonzero()[0])]
        raise NonFiniteError(what, f"task with seed {seed}, {where}", "try a smaller inner_lr")
