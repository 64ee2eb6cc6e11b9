"""Rewards in units of the spread of the discounted return.

Legend: T environment steps of a fragment, N environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from synrl_ray.sampling.rollout import Rollout

_LEAST_VARIANCE = 1e-8


class ReturnScale:
    r"""The factor :math:`1 / \sqrt{\mathrm{Var}(R) + 10^{-8}}` over everything that was sampled, where

    .. math:: R_t = \gamma R_{t-1} + r_t

    runs forward within each episode. Rewards are only scaled, not centred: their sign keeps its meaning.

    Args:
        gamma: discount.

    References:
        Engstrom et al. (2020), "Implementation matters in deep policy gradients", arXiv:2005.12729, section 3.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._running: dict[int, np.ndarray] = {}

    def update(self, rollouts: Sequence[Rollout], sources: Sequence[int] | None = None) -> float:
        """Take fragments in and return the factor.

        Args:
            rollouts: fragments, of all env runners in their order.
            sources: or of those env runners, of each the next fragment.
        """
        if sources is None:
            sources = range(len(rollouts))
            if len(self._running) != len(rollouts):
                self._running = {}  # a runner is gone or new
        for index, rollout in zip(sources, rollouts, strict=True):
            returns = np.empty(rollout.rewards.shape)
            running = self._running.get(index, np.zeros(0))
            if len(running) != rollout.rewards.shape[1]:
                running = np.zeros(rollout.rewards.shape[1])
            for t, rewards in enumerate(rollout.rewards):
                running = np.where(rollout.starts[t], 0.0, running) * self.gamma + np.where(
                    rollout.valid[t], rewards, 0
                )
                returns[t] = running
            self._running[index] = running
            self._add(returns[rollout.valid])
        return float(1 / np.sqrt(self._squares / max(self._count, 1) + _LEAST_VARIANCE)) if self._squares else 1.0

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint holds; running returns are not part of it, since episodes start anew."""
        return {"count": self._count, "mean": self._mean, "squares": self._squares}

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`."""
        self._count, self._mean, self._squares = state["count"], state["mean"], state["squares"]
        self._running = {}

    def _add(self, values: np.ndarray) -> None:
        """Merge mean and sum of squared deviations (Chan, Golub, LeVeque 1979)."""
        if not values.size:
            return
        mean, total = float(values.mean()), self._count + values.size
        shift = mean - self._mean
        self._squares += float(np.square(values - mean).sum()) + shift**2 * self._count * values.size / total
        self._mean += shift * values.size / total
        self._count = total
