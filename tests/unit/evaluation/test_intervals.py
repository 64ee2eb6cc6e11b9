"""Intervals by hand: their tails, their defaults, what is refused at the very bound."""

import numpy as np
import pytest

from synrl_ray.evaluation import statistics
from synrl_ray.evaluation.statistics import (
    bootstrap_band,
    crossed_bootstrap_interval,
    iqm,
    stratified_bootstrap_interval,
    summarise,
)

SCORES = np.random.default_rng(3).normal(size=40)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95])
def test_as_much_is_left_out_below_as_above(confidence):
    """Resamples are drawn from the generator of the seed, block by block."""
    rng = np.random.default_rng(7)
    means = SCORES[rng.integers(40, size=(100, 40))].mean(axis=1)
    expected = np.quantile(means, [(1 - confidence) / 2, 1 - (1 - confidence) / 2])
    found = stratified_bootstrap_interval(SCORES, np.mean, confidence=confidence, num_resamples=100, seed=7)
    assert found == pytest.approx(tuple(expected))


def test_curves_are_resampled_by_the_generator_of_the_seed():
    curves_SG = np.random.default_rng(4).normal(size=(5, 3))
    rng = np.random.default_rng(9)
    means = curves_SG[rng.integers(5, size=(200, 5))].mean(axis=1)
    low_G, high_G = bootstrap_band(curves_SG, np.mean, confidence=0.8, num_resamples=200, seed=9)
    np.testing.assert_allclose(low_G, np.quantile(means, 0.1, axis=0))
    np.testing.assert_allclose(high_G, np.quantile(means, 0.9, axis=0))


def test_by_default_it_is_the_95_percent_interval_of_the_iqm_of_2000_resamples():
    rng = np.random.default_rng(0)
    iqms = iqm(SCORES[rng.integers(40, size=(2000, 40))], axis=1)
    expected = pytest.approx(tuple(np.quantile(iqms, [0.025, 0.975])), rel=1e-12)
    assert stratified_bootstrap_interval(SCORES) == expected
    assert summarise(SCORES).ci95 == expected
    rng = np.random.default_rng(0)
    curves_SG = np.stack([SCORES, -SCORES, SCORES + 1, 2 * SCORES])
    iqms = iqm(curves_SG[rng.integers(4, size=(2000, 4))], axis=1)
    np.testing.assert_allclose(bootstrap_band(curves_SG), np.quantile(iqms, [0.025, 0.975], axis=0))


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.1])
def test_a_confidence_is_strictly_between_none_and_all(confidence):
    with pytest.raises(ValueError, match=r"confidence must lie in \(0, 1\)"):
        stratified_bootstrap_interval(SCORES, confidence=confidence)
    with pytest.raises(ValueError, match=r"confidence must lie in \(0, 1\)"):
        bootstrap_band(SCORES[None], confidence=confidence)


def test_one_resample_is_enough_and_none_is_not():
    low, high = stratified_bootstrap_interval(SCORES, num_resamples=1)
    assert low == high
    with pytest.raises(ValueError, match="num_resamples must be at least 1, got 0"):
        bootstrap_band(SCORES[None], num_resamples=0)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 2, 2)])
def test_curves_are_a_filled_matrix(shape):
    with pytest.raises(ValueError, match="must be a filled"):
        bootstrap_band(np.zeros(shape))


@pytest.mark.parametrize(("most", "sizes"), [(8, [2, 2, 1]), (4, [1] * 5), (3, [1] * 5), (20, [5]), (19, [4, 1])])
def test_blocks_hold_as_many_resamples_as_fit_and_one_at_least(monkeypatch, most, sizes):
    monkeypatch.setattr(statistics, "MAX_RESAMPLED_VALUES", most)
    assert list(statistics._blocks(5, 4)) == sizes


def test_an_iqm_leaves_a_quarter_out_at_each_end():
    assert iqm([0.0, 1.0, 2.0, 100.0]) == pytest.approx(1.5)
    assert iqm([0.0, 1.0, 2.0, 3.0, 100.0, 7.0, 8.0]) == pytest.approx((1 + 2 + 3 + 7 + 8) / 5)
    assert iqm(np.array([[0.0, 1.0], [10.0, 3.0]]), axis=0).tolist() == [5, 2]


def test_seeds_are_counted_as_groups_and_a_flat_list_as_one():
    assert summarise([[1.0], [2.0], [3.0]]).num_seeds == 3
    assert summarise([np.array([1.0, 2.0]), np.array([3.0])]).num_episodes == 3
    assert summarise(np.array([1.0, 2.0, 3.0])).num_seeds == 1


def test_a_crossed_bootstrap_covers_seeds_and_tasks_and_takes_copies_for_one_task():
    rng = np.random.default_rng(0)
    by_task, by_seed = rng.normal(size=(1, 40)), rng.normal(size=(6, 1))
    widths = [
        np.diff(crossed_bootstrap_interval(np.broadcast_to(part, (6, 40))))[0]
        for part in (by_task, by_seed, by_task + by_seed)
    ]
    tasks, seeds = (2 * 1.96 * part.std() / part.size**0.5 for part in (by_task, by_seed))
    assert widths[0] == pytest.approx(tasks, rel=0.1)
    assert widths[1] == pytest.approx(seeds, rel=0.15)
    assert widths[2] == pytest.approx((tasks**2 + seeds**2) ** 0.5, rel=0.15)
    copied, groups = np.repeat(by_task, 5, axis=1), np.repeat(range(40), 5)
    assert np.diff(crossed_bootstrap_interval(copied, groups))[0] == pytest.approx(widths[0], rel=0.05)
    assert np.diff(crossed_bootstrap_interval(copied))[0] < 0.6 * widths[0]
