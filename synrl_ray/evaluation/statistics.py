"""Statistics of episode returns that are honest about few runs: interquartile mean and bootstrap intervals.

Legend: S seeds (trained policies), n scores in all, R bootstrap resamples, G grid points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = Sequence[float] | Sequence[Sequence[float]] | Sequence[NDArray[Any]] | NDArray[Any]
Statistic = Callable[..., Any]
"""``statistic(samples, axis=...)``: reduces one axis of an array, as ``np.mean`` and :func:`iqm` do."""

NUM_RESAMPLES = 2000
"""Of a bootstrap, where nothing else is asked for."""
MAX_RESAMPLED_VALUES = 4_000_000  # per block of resamples: 32 MB


@dataclass(frozen=True)
class Summary:
    """What a set of scores says, in the units of the scores (reward units for returns).

    Attributes:
        mean: over all episodes of all seeds.
        std: population standard deviation (divides by n) over all episodes of all seeds.
        iqm: interquartile mean over the same.
        ci95: 95 % stratified bootstrap interval of the *IQM*; the plain mean of skewed scores may lie outside.
        minimum: lowest score.
        maximum: highest score.
        num_episodes: scores in all.
        num_seeds: groups of scores.
    """

    mean: float
    std: float
    iqm: float
    ci95: tuple[float, float]
    minimum: float
    maximum: float
    num_episodes: int
    num_seeds: int


def iqm(scores: Scores, axis: int | None = None) -> Any:
    r"""Interquartile mean: the mean of what is left without the lowest and the highest quarter.

    .. math:: \mathrm{iqm}(x) = \frac{1}{n - 2k} \sum_{i=k+1}^{n-k} x_{(i)}, \qquad k = \lfloor n / 4 \rfloor

    Equal to ``scipy.stats.trim_mean(scores, 0.25)``. With fewer than four scores nothing is cut: it is the mean.

    Args:
        scores: with ``axis=None`` a flat sequence, or one sequence per seed (lengths may differ), which is flattened.
        axis: the axis to reduce; ``scores`` is then a regular array, whose values are not checked.
    Returns:
        A float for ``axis=None``, else an array without ``axis``.
    Raises:
        ValueError: for ``axis=None``, if there are no scores or one is not finite.
    References:
        Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
        arXiv:2108.13264.
    """
    if axis is None:
        return float(iqm(np.concatenate(_strata(scores)), axis=0))
    values = np.moveaxis(np.asarray(scores, dtype=np.float64), axis, -1)
    num_cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., num_cut : values.shape[-1] - num_cut].mean(axis=-1)


def stratified_bootstrap_interval(
    scores: Scores,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic, resampling episodes within each seed.

    The strata are the seeds: each keeps its number of episodes in every resample. The interval therefore holds the
    *given* trained policies fixed and covers the chance of their episodes. How much training itself varies from
    seed to seed is another question: pass one score per seed as a single group, or use :func:`bootstrap_band`.

    Args:
        scores: one sequence of scores per seed, or a flat sequence (one seed: the ordinary bootstrap).
        statistic: called as ``statistic(samples_Rn, axis=-1)``.
        confidence: in (0, 1).
        num_resamples: R, at least 1.
        seed: of the resampling.
    Returns:
        ``(low, high)``.
    Raises:
        ValueError: if scores are missing or not finite, or a setting is out of range.
    """
    quantiles = _tails(confidence, num_resamples)
    low, high = np.quantile(_resampled(_strata(scores), statistic, num_resamples, seed), quantiles)
    return float(low), float(high)


def crossed_bootstrap_interval(
    scores_SM: NDArray[Any], groups: Sequence[int] | None = None, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, resampling seeds and tasks: each resample draws seeds with replacement
    and, by itself, groups of tasks, which are the same for all seeds.

    Args:
        scores_SM: of each seed on each task.
        groups: for each task a number that equal ones have in common; all differ by default.
        confidence: in (0, 1).
        seed: of the resampling.
    Returns:
        ``(low, high)``.

    Example:
        >>> crossed_bootstrap_interval(np.full((3, 4), 2.0))
        (2.0, 2.0)
    """
    scores = np.asarray(scores_SM, np.float64)
    num_seeds, num_tasks = scores.shape
    kept = np.arange(num_tasks) if groups is None else np.unique(groups, return_inverse=True)[1]
    size = np.bincount(kept)
    totals = np.stack([np.bincount(kept, row) for row in scores])
    rng, estimates = np.random.default_rng(seed), np.empty(NUM_RESAMPLES)
    for i in range(NUM_RESAMPLES):
        drawn = rng.integers(len(size), size=len(size))
        by_seed = totals[:, drawn].sum(axis=1) / size[drawn].sum()
        estimates[i] = by_seed[rng.integers(num_seeds, size=num_seeds)].mean()
    low, high = np.quantile(estimates, _tails(confidence, NUM_RESAMPLES))
    return float(low), float(high)


def bootstrap_difference(
    first: Scores, second: Scores, statistic: Statistic = iqm, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the statistic of the second scores less that of the first.

    Both are resampled by themselves, within each seed, as :func:`stratified_bootstrap_interval` does.

    Args:
        first, second: see there.
        statistic: see there.
        seed: of the resampling.
    Returns:
        ``(low, high)``.
    Raises:
        ValueError: as there.

    Example:
        >>> bootstrap_difference([1.0, 1.0], [3.0, 3.0])
        (2.0, 2.0)
    """
    before, after = (
        _resampled(_strata(scores), statistic, NUM_RESAMPLES, seed + i) for i, scores in enumerate((first, second))
    )
    low, high = np.quantile(after - before, _tails(0.95, NUM_RESAMPLES))
    return float(low), float(high)


def _resampled(
    strata: list[NDArray[np.float64]], statistic: Statistic, num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """The statistic of each resample, ``[R]``."""
    rng = np.random.default_rng(seed)
    estimates = [
        statistic(np.concatenate([s[rng.integers(s.size, size=(block, s.size))] for s in strata], axis=-1), axis=-1)
        for block in _blocks(num_resamples, sum(stratum.size for stratum in strata))
    ]
    return np.concatenate(estimates)


def bootstrap_band(
    values_SG: NDArray[Any],
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pointwise bootstrap interval of a statistic over whole curves: seeds are resampled, not grid points.

    Args:
        values_SG: ``[S, G]``, one curve per seed on a common grid.
        statistic: called as ``statistic(samples_RSG, axis=1)``.
        confidence: in (0, 1), for each grid point by itself.
        num_resamples: R, at least 1.
        seed: of the resampling.
    Returns:
        The lower and the upper curve, each ``[G]``.
    Raises:
        ValueError: if ``values_SG`` is not a filled, finite matrix, or a setting is out of range.
    """
    values_SG = np.asarray(values_SG, dtype=np.float64)
    if values_SG.ndim != 2 or values_SG.size == 0:
        raise ValueError(f"curves must be a filled [seeds, grid points] matrix, got shape {values_SG.shape}")
    if not np.isfinite(values_SG).all():
        raise ValueError("curves hold values that are not finite")
    quantiles = _tails(confidence, num_resamples)
    rng = np.random.default_rng(seed)
    num_seeds = len(values_SG)
    estimates = [
        statistic(values_SG[rng.integers(num_seeds, size=(block, num_seeds))], axis=1)
        for block in _blocks(num_resamples, values_SG.size)
    ]
    low_G, high_G = np.quantile(np.concatenate(estimates), quantiles, axis=0)
    return low_G, high_G


def summarise(scores: Scores) -> Summary:
    """Summarise the scores of one or several seeds.

    Args:
        scores: one sequence of scores per seed, or a flat sequence (one seed).
    Returns:
        The summary; its interval is :func:`stratified_bootstrap_interval` with its defaults.
    Raises:
        ValueError: if there are no scores, a seed has none, or one is not finite.
    """
    strata = _strata(scores)
    values = np.concatenate(strata)
    return Summary(
        mean=float(values.mean()),
        std=float(values.std()),
        iqm=iqm(values),
        ci95=stratified_bootstrap_interval(strata),
        minimum=float(values.min()),
        maximum=float(values.max()),
        num_episodes=int(values.size),
        num_seeds=len(strata),
    )


def _strata(scores: Scores) -> list[NDArray[np.float64]]:
    """One checked flat array per seed."""
    groups: list[Any] = list(scores)
    if not groups:
        raise ValueError("no scores: there is nothing to summarise")
    if all(np.ndim(group) == 0 for group in groups):
        groups = [groups]
    strata = [np.asarray(group, dtype=np.float64).ravel() for group in groups]
    for index, stratum in enumerate(strata):
        if stratum.size == 0:
            raise ValueError(f"seed group {index} has no scores")
        bad = np.flatnonzero(~np.isfinite(stratum))
        if bad.size:
            raise ValueError(f"score {bad[0]} of seed group {index} is not finite: {stratum[bad[0]]}")
    return strata


def _tails(confidence: float, num_resamples: int) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    return (1 - confidence) / 2, (1 + confidence) / 2


def _blocks(num_resamples: int, values_per_resample: int) -> Iterator[int]:
    """Split the resamples into blocks that bound the memory."""
    size = max(1, MAX_RESAMPLED_VALUES // values_per_resample)
    for start in range(0, num_resamples, size):
        yield min(size, num_resamples - start)
