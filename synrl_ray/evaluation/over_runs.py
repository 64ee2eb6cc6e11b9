r"""What a few runs say of an algorithm: performance profiles and the probability of improvement.

Legend: n and m runs (seeds), one score each; G thresholds; R bootstrap resamples.

References:
    Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv:2108.13264,
    sections 4.2 and 4.3; here of one task, so that runs are what is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synrl_ray.evaluation.statistics import NUM_RESAMPLES, bootstrap_band


class Profile(NamedTuple):
    """Shares ``[G]`` of the runs that are as good as each threshold, and the ends of their pointwise intervals."""

    thresholds: NDArray[np.float64]
    shares: NDArray[np.float64]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]


class Probability(NamedTuple):
    """A probability and the ends of its interval."""

    value: float
    low: float
    high: float


def performance_profile(scores: Sequence[float], thresholds: Sequence[float], sign: int = 1) -> Profile:
    r"""The share of runs that reach each threshold, with a 95 % percentile bootstrap interval over runs.

    .. math:: \hat F(\tau) = \frac{1}{n} \sum_{i=1}^{n} \mathbb 1[x_i \ge \tau]

    Args:
        scores: one for each run.
        thresholds: :math:`\tau`, ``[G]``.
        sign: -1 where less is better: :math:`x_i \le \tau` then.

    Example:
        >>> performance_profile([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 5.0]).shares.tolist()
        [1.0, 0.75, 0.0]
        >>> performance_profile([1.0, 2.0, 3.0, 4.0], [2.0], sign=-1).shares.tolist()
        [0.5]
    """
    limits = np.asarray(thresholds, dtype=np.float64)
    reached = (sign * np.asarray(scores, dtype=np.float64)[:, None] >= sign * limits).astype(np.float64)
    return Profile(limits, reached.mean(axis=0), *bootstrap_band(reached, np.mean))


def probability_of_improvement(
    first: Sequence[float], second: Sequence[float], sign: int = 1, seed: int = 0
) -> Probability:
    r"""How likely a run of the first kind is better than one of the second, with a 95 % percentile bootstrap interval.

    .. math:: P(X > Y) = \frac{1}{nm} \sum_{i,j} \mathbb 1[x_i > y_j] + \tfrac12 \mathbb 1[x_i = y_j]

    The runs of each kind are resampled by themselves.

    Args:
        first, second: one score for each run.
        sign: -1 where less is better.
        seed: of the resampling.

    Example:
        >>> probability_of_improvement([1.0, 3.0], [1.0, 2.0]).value  # pairs: a tie, a loss, two wins
        0.625
    """
    x, y = (sign * np.asarray(scores, dtype=np.float64) for scores in (first, second))
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    rng = np.random.default_rng(seed)
    drawn_x, drawn_y = (rng.multinomial(len(z), np.full(len(z), 1 / len(z)), NUM_RESAMPLES) / len(z) for z in (x, y))
    low, high = np.quantile(((drawn_x @ wins) * drawn_y).sum(axis=1), (0.025, 0.975))
    return Probability(float(wins.mean()), float(low), float(high))
