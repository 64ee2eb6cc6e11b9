r"""Distributions of actions, as what a network's outputs mean, and the policy gradient by them.

Legend: M tasks, K decisions of each, O outputs, A numbers of an action.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from synrl_ray.errors import UserError
from synrl_ray.meta.losses import TaskLoss

_MOST_LOG_RATIO = 20.0
_LEAST_UNIFORM = 2.0**-54
"""In place of 0, whose normal deviate is infinite."""


class ActionHead(ABC):
    """What outputs ``[M, K, O]`` say of actions ``[M, K, A]``, both of floating point."""

    num_outputs: int
    """That a network computes; O, or fewer where the head has parameters of its own."""
    size: int
    """A: numbers of an action, and random numbers that drawing one takes."""

    @abstractmethod
    def draw(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        """Actions by random numbers ``[M, K, A]`` in [0, 1)."""

    @abstractmethod
    def greedy(self, outputs: Tensor) -> Tensor:
        """The likeliest actions."""

    @abstractmethod
    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Of actions, ``[M, K]``."""

    @abstractmethod
    def entropy(self, outputs: Tensor) -> Tensor:
        """In nats, ``[M, K]``."""

    @abstractmethod
    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """The derivative of :meth:`log_prob` by the outputs, ``[M, K, O]``."""

    @abstractmethod
    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """Actions ``[..., A]`` as the environment takes them."""


class CategoricalHead(ActionHead):
    """Outputs are logits of n actions, the first of which is ``start``."""

    size = 1

    def __init__(self, num_actions: int, start: int = 0) -> None:
        self.num_outputs, self._start = num_actions, start

    def draw(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        """By the inverse of the cumulative distribution."""
        bounds = outputs.double().softmax(-1).cumsum(-1)[..., :-1]
        return (bounds <= uniforms).sum(-1, keepdim=True).to(outputs)

    def greedy(self, outputs: Tensor) -> Tensor:
        """Of equal ones, the first."""
        return outputs.argmax(-1, keepdim=True).to(outputs)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """The chosen one's of the normalised logits."""
        return outputs.log_softmax(-1).gather(-1, actions.long()).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Of the n probabilities."""
        log_probs = outputs.log_softmax(-1)
        return -torch.sum(log_probs.exp() * log_probs, dim=-1)

    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """One-hot minus probabilities."""
        chosen = torch.zeros_like(outputs).scatter(-1, actions.long(), 1.0)
        return chosen - outputs.softmax(-1)

    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """Whole numbers ``[...]``."""
        return actions[..., 0].astype(np.int64) + self._start


class GaussianHead(ActionHead):
    r"""Outputs are means and logarithms of deviations, ``[mean, log σ]``, in units in which the action space is ±1.

    What leads out of the space is clipped by the environment's side: the density is that of what was drawn.

    Args:
        space: of actions, a Box; where it has no bounds its units are its own.
    """

    def __init__(self, space: spaces.Box) -> None:
        low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
        bounded = np.isfinite(low) & np.isfinite(high)
        self.num_outputs = self.size = low.size
        with np.errstate(invalid="ignore"):
            self._centre = np.where(bounded, (low + high) / 2, 0.0)
            self._scale = np.where(bounded, (high - low) / 2, 1.0)
        self._low, self._high, self._space = low, high, space

    def draw(self, outputs: Tensor, uniforms: Tensor) -> Tensor:
        """Mean and deviation times a normal deviate."""
        mean, log_deviation = outputs.chunk(2, -1)
        normal = torch.special.ndtri(uniforms.clamp(min=_LEAST_UNIFORM)).to(outputs)
        return mean + log_deviation.exp() * normal

    def greedy(self, outputs: Tensor) -> Tensor:
        """The mean."""
        return outputs.chunk(2, -1)[0]

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Of independent normal distributions."""
        mean, log_deviation = outputs.chunk(2, -1)
        squared = ((actions - mean) * (-log_deviation).exp()).square()
        return (-0.5 * squared - log_deviation - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Differential entropy; below 0 where deviations are small."""
        return (outputs.chunk(2, -1)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def score(self, outputs: Tensor, actions: Tensor) -> Tensor:
        r""":math:`(a - \mu) / \sigma^2` and :math:`(a - \mu)^2 / \sigma^2 - 1`."""
        mean, log_deviation = outputs.chunk(2, -1)
        standard = (actions - mean) * (-log_deviation).exp()
        return torch.cat([standard * (-log_deviation).exp(), standard.square() - 1], -1)

    def for_environment(self, actions: np.ndarray) -> np.ndarray:
        """In the environment's units and shape, clipped to its bounds."""
        found = np.clip(self._centre + self._scale * actions.astype(np.float64), self._low, self._high)
        if np.issubdtype(self._space.dtype, np.integer):  # whose greatest would be met by chance only
            found = np.rint(found)
        return found.reshape(*actions.shape[:-1], *self._space.shape).astype(self._space.dtype)


class MeanAndDeviation(nn.Linear):
    """A linear layer, and beside its outputs as many numbers that do not depend on the input: ``[..., 2 A]``.

    Args:
        in_features, out_features: of the means.
        deviation: whose logarithm those numbers are at the start.
    """

    def __init__(self, in_features: int, out_features: int, deviation: float) -> None:
        super().__init__(in_features, out_features)
        self.log_deviation = nn.Parameter(torch.full((out_features,), math.log(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        """Return means and logarithms of deviations."""
        means = super().forward(x)
        return torch.cat([means, self.log_deviation.expand_as(means)], -1)


def head_of(space: gym.Space, env_id: str) -> ActionHead:
    """The distribution of such actions.

    Raises:
        UserError: for actions that no head draws.
    """
    if isinstance(space, spaces.Discrete):
        return CategoricalHead(int(space.n), int(space.start))
    if isinstance(space, spaces.Box):
        return GaussianHead(space)
    problem = f"actions of {env_id} are {type(space).__name__}, which meta-learned policies do not draw"
    raise UserError(problem, "wrap it into Discrete or Box")


class DecisionLoss(TaskLoss):
    r""":math:`-\sum_k w_k \log\pi(a_k | x_k)`; targets are actions and their weights side by side, ``[M, K, A + 1]``.

    The weights are advantages over the number of a task's decisions, so that the sum is a mean.

    References:
        Williams (1992), doi:10.1007/BF00992696.
    """

    def __init__(self, head: ActionHead) -> None:
        self._head = head

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`~synrl_ray.meta.losses.TaskLoss`."""
        return -(targets[..., -1] * self._head.log_prob(outputs, targets[..., :-1])).sum(1)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`~synrl_ray.meta.losses.TaskLoss`, without a graph of the loss."""
        return -targets[..., -1:] * self._head.score(outputs, targets[..., :-1])


def ratio_of(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """How much likelier decisions have become; finite, so that those of no weight count for nothing."""
    return (log_prob - old_log_prob).clamp(max=_MOST_LOG_RATIO).exp()


def clipped_decisions(log_prob: Tensor, old_log_prob: Tensor, weights: Tensor, clip: float) -> Tensor:
    r"""PPO's loss of each task ``[M]``, by columns ``[M, K]`` of decisions.

    .. math:: -\sum_k \min(\rho_k w_k, \mathrm{clip}(\rho_k, 1 - \epsilon, 1 + \epsilon)\, w_k)

    References:
        Schulman, Wolski, Dhariwal, Radford & Klimov (2017), arXiv:1707.06347, eq. 7.
    """
    ratio = ratio_of(log_prob, old_log_prob)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * weights, clipped * weights).sum(1)
