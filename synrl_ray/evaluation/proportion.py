"""How sure one can be of a proportion, such as an accuracy."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(num_successes: int, num_trials: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Wilson score interval, which stays inside [0, 1] and is right near its ends.

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Args:
        num_successes: between 0 and ``num_trials``.
        num_trials: at least 1.
        confidence: in (0, 1).
    Raises:
        ValueError: if the counts do not fit.
    References:
        Wilson (1927), doi:10.1080/01621459.1927.10502953.
    """
    if num_trials < 1 or not 0 <= num_successes <= num_trials:
        raise ValueError(f"{num_successes} successes in {num_trials} trials is no proportion")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, n = num_successes / num_trials, num_trials
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if num_successes == 0 else (centre - half) / (1 + z * z / n)
    high = 1.0 if num_successes == num_trials else (centre + half) / (1 + z * z / n)
    return low, high
