r"""OpenAI's evolution strategy: mirrored sampling, centred ranks, weight decay, and a step of the estimated gradient.

.. math:: g = \frac{1}{2 n \sigma} \sum_{p=1}^{n} (u(F_p^+) - u(F_p^-))\, \epsilon_p - \lambda \theta

of n pairs of individuals :math:`\theta \pm \sigma \epsilon_p` with returns :math:`F_p^\pm`, whose centred ranks are u.
A perturbation is a function of seed, generation and pair: it is never sent, but drawn again wherever it is needed.

Legend: P pairs, E episodes of an individual, D genes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import rankdata

from synrl_ray.errors import NonFiniteError
from synrl_ray.policies.hebbian.random import stream
from synrl_ray.settings.evolution import OpenAiEs

_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8  # Adam's usual decays, and what it adds to a deviation


def centred_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from -0.5 of the worst to 0.5 of the best, in the shape of the scores; equal scores share their mean rank.

    Example:
        >>> centred_ranks(np.array([[3.0, 1.0], [7.0, 3.0]])).tolist()
        [[0.0, -0.5], [0.5, 0.0]]
    """
    ranks = rankdata(scores.ravel()).reshape(scores.shape) - 1
    centred: np.ndarray = ranks / (scores.size - 1) - 0.5
    return centred


def shaped(returns: np.ndarray, ranked: Literal["mean", "episode"]) -> np.ndarray:
    """What counts of returns ``[P, 2, E]``: centred ranks ``[P, 2]`` of their means, or mean ranks of all episodes.

    Example:
        >>> returns = np.array([[[400.0, 20.0], [300.0, 40.0]]])
        >>> shaped(returns, "mean").tolist(), shaped(returns, "episode").tolist()
        ([[0.5, -0.5]], [[0.0, 0.0]])
    """
    if ranked == "mean":
        return centred_ranks(returns.mean(2))
    each: np.ndarray = np.mean([centred_ranks(episode) for episode in np.moveaxis(returns, 2, 0)], axis=0)
    return each


def perturbation(seed: int, generation: int, pair: int, num_genes: int) -> np.ndarray:
    """Normal numbers ``[D]``, float32."""
    drawn: np.ndarray = stream(seed, "perturbation", generation, pair).standard_normal(num_genes, np.float32)
    return drawn


class Strategy:
    """The genes that are searched from, and what a generation makes of them.

    Args:
        settings: of the strategy.
        num_genes: D.
        seed: of all that it draws.

    Attributes:
        genes: ``[D]``, float32.
        generation: how many there have been.
    """

    def __init__(self, settings: OpenAiEs, num_genes: int, seed: int) -> None:
        self.settings, self.seed, self.generation = settings, seed, 0
        drawn = stream(seed, "genes").standard_normal(num_genes, np.float32)
        self.genes: np.ndarray = drawn * np.float32(settings.initial_std)
        self.moments = np.zeros((2, num_genes), np.float32)

    @property
    def sigma(self) -> float:
        """Standard deviation of this generation's perturbations."""
        settings = self.settings
        return max(settings.sigma * settings.sigma_decay**self.generation, min(settings.sigma, settings.sigma_min))

    @property
    def lr(self) -> float:
        """Learning rate of this generation."""
        settings = self.settings
        return max(settings.lr * settings.lr_decay**self.generation, min(settings.lr, settings.lr_min))

    def update(self, returns: np.ndarray) -> float:
        """Go on to the next generation.

        Args:
            returns: ``[P, 2, E]``, of each pair as it is and mirrored.

        Returns:
            The norm of the estimated gradient, weight decay included.

        Raises:
            NonFiniteError: for a return or a gene that is not finite.
        """
        where = f"in generation {self.generation}"
        if not np.isfinite(returns).all():
            raise NonFiniteError("a return", where, "check the environment's rewards")
        ranks = shaped(returns, self.settings.ranked)
        gradient = np.zeros(len(self.genes), np.float32)
        for pair, difference in enumerate((ranks[:, 0] - ranks[:, 1]).astype(np.float32)):
            if difference:
                gradient += difference * perturbation(self.seed, self.generation, pair, len(self.genes))
        gradient /= np.float32(ranks.size * self.sigma)
        gradient -= np.float32(self.settings.weight_decay) * self.genes
        self.genes = self.genes + np.float32(self.lr) * self._direction(gradient)
        self.generation += 1
        if not np.isfinite(self.genes).all():
            raise NonFiniteError("a gene", where, "try a smaller learning rate")
        return float(np.linalg.norm(gradient))

    def _direction(self, gradient: np.ndarray) -> np.ndarray:
        if self.settings.optimizer == "sgd":
            return gradient
        first, second = self.moments
        first += np.float32(1 - _FIRST) * (gradient - first)
        second += np.float32(1 - _SECOND) * (gradient**2 - second)
        steps = self.generation + 1
        deviation = np.sqrt(second / np.float32(1 - _SECOND**steps)) + np.float32(_LEAST)
        direction: np.ndarray = first / np.float32(1 - _FIRST**steps) / deviation
        return direction
