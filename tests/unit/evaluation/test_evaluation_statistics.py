import numpy as np
import pytest
from scipy.stats import bootstrap, trim_mean

from synrl_ray.evaluation.statistics import (
    bootstrap_band,
    bootstrap_difference,
    iqm,
    stratified_bootstrap_interval,
    summarise,
)


def test_iqm_by_hand():
    # Eight scores: two are cut at each end, (3 + 4 + 5 + 6) / 4 is left.
    assert iqm([1000, 1, 2, 3, 4, 5, 6, -1000]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([1, 2, 30]) == pytest.approx(11)  # fewer than four: nothing is cut


@pytest.mark.parametrize("num_scores", [1, 2, 3, 4, 5, 7, 8, 101])
def test_iqm_equals_scipys_trimmed_mean(num_scores):
    scores = np.random.default_rng(num_scores).normal(size=num_scores) ** 3
    assert iqm(scores) == pytest.approx(trim_mean(scores, 0.25), rel=1e-12)


def test_iqm_flattens_seeds_of_different_lengths():
    assert iqm([[0.0, 10.0, 4.0], [6.0]]) == pytest.approx(5.0)


def test_iqm_along_an_axis_is_the_iqm_of_each_slice():
    samples = np.random.default_rng(0).normal(size=(3, 9, 4))
    expected = trim_mean(samples, 0.25, axis=1)
    np.testing.assert_allclose(iqm(samples, axis=1), expected, rtol=1e-12)


def test_bootstrap_of_two_values_by_hand():
    # The mean of two draws from {0, 1} is 0 (1/4), 1/2 (1/2) or 1 (1/4): central 40 % is 1/2 alone, 95 % spans all.
    assert stratified_bootstrap_interval([0.0, 1.0], np.mean, confidence=0.95) == (0.0, 1.0)
    assert stratified_bootstrap_interval([0.0, 1.0], np.mean, confidence=0.4) == (0.5, 0.5)


def test_the_difference_of_two_sets_is_resampled_as_scipy_does():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 60), rng.normal(0.5, 2, 40)
    found = bootstrap_difference(first, second, np.mean)
    expected = bootstrap(
        (first, second), lambda a, b, axis: b.mean(axis) - a.mean(axis), method="percentile", random_state=1
    ).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.05)  # the ends of 2,000 and of 9,999 resamples
    assert bootstrap_difference(first, second, np.mean) == found
    back = bootstrap_difference(second, first, np.mean)
    np.testing.assert_allclose(back, (-found[1], -found[0]), atol=0.1)


def test_strata_of_a_difference_keep_their_sizes():
    assert bootstrap_difference([[0.0] * 4, [1.0] * 12], [[2.0] * 3, [4.0]], np.mean) == (1.75, 1.75)


def test_strata_keep_their_sizes():
    # Resampled within the seeds, constant seeds cannot vary; pooled, they would.
    assert stratified_bootstrap_interval([[0.0] * 10, [1.0] * 30], np.mean) == (0.75, 0.75)
    low, high = stratified_bootstrap_interval([0.0] * 10 + [1.0] * 30, np.mean)
    assert low < 0.7
    assert high > 0.8


def test_bootstrap_of_a_mean_matches_the_normal_interval():
    scores = np.random.default_rng(1).normal(size=400)
    half = 1.96 * scores.std() / np.sqrt(400)
    low, high = stratified_bootstrap_interval(scores, np.mean, num_resamples=4000)
    assert low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_bootstrap_is_deterministic_and_depends_on_its_seed():
    scores = np.random.default_rng(2).normal(size=50)
    assert stratified_bootstrap_interval(scores) == stratified_bootstrap_interval(scores)
    assert stratified_bootstrap_interval(scores) != stratified_bootstrap_interval(scores, seed=1)


def test_blocks_cover_all_resamples(monkeypatch):
    monkeypatch.setattr("synrl_ray.evaluation.statistics.MAX_RESAMPLED_VALUES", 7 * 10)
    sizes = []

    def counting_mean(samples, axis):
        sizes.append(len(samples))
        return np.mean(samples, axis=axis)

    stratified_bootstrap_interval(np.arange(10.0), counting_mean, num_resamples=50)
    assert sizes == [7] * 7 + [1]


def test_band_resamples_whole_curves():
    curves_SG = np.array([[0.0, 5.0, 1.0], [1.0, 5.0, 0.0]])
    low_G, high_G = bootstrap_band(curves_SG, np.mean)
    np.testing.assert_array_equal(low_G, [0, 5, 0])
    np.testing.assert_array_equal(high_G, [1, 5, 1])


def test_band_of_one_seed_is_the_curve():
    low_G, high_G = bootstrap_band(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(low_G, [1, 2])
    np.testing.assert_array_equal(high_G, [1, 2])


def test_summary_by_hand():
    summary = summarise([[1.0, 2.0, 3.0], [6.0]])
    assert summary.mean == 3.0
    assert summary.std == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 4))
    assert summary.iqm == 2.5
    assert (summary.minimum, summary.maximum, summary.num_episodes, summary.num_seeds) == (1.0, 6.0, 4, 2)
    assert summary.ci95[0] <= summary.iqm <= summary.ci95[1]
    assert summarise([1.0, 2.0]).num_seeds == 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "no scores"),
        ([[1.0], []], "seed group 1 has no scores"),
        ([1.0, float("nan")], "score 1 of seed group 0 is not finite: nan"),
        ([[1.0], [2.0, 3.0, float("-inf")]], "score 2 of seed group 1 is not finite: -inf"),
    ],
)
@pytest.mark.parametrize("function", [iqm, stratified_bootstrap_interval, summarise])
def test_unusable_scores_are_named(function, scores, message):
    with pytest.raises(ValueError, match=message):
        function(scores)


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="confidence must lie in"):
        stratified_bootstrap_interval([1.0], confidence=95)
    with pytest.raises(ValueError, match="num_resamples must be at least 1"):
        stratified_bootstrap_interval([1.0], num_resamples=0)
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        bootstrap_band(np.ones(3))
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_band(np.full((1, 1), np.nan))
