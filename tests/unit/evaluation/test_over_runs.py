"""Performance profiles and the probability of improvement, by hand."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from synrl_ray.evaluation.over_runs import performance_profile, probability_of_improvement


def test_a_profile_is_the_share_of_runs_that_reach_a_threshold():
    found = performance_profile([1.0, 2.0, 2.0, 5.0], [1.0, 2.0, 2.5, 6.0])
    assert found.shares.tolist() == [1.0, 0.75, 0.25, 0.0]
    assert found.lows.tolist()[0] == found.highs.tolist()[0] == 1.0
    assert (found.lows <= found.shares).all()
    assert (found.shares <= found.highs).all()


def test_where_less_is_better_a_profile_rises():
    assert performance_profile([1.0, 2.0], [0.5, 1.0, 2.0], sign=-1).shares.tolist() == [0.0, 0.5, 1.0]


def test_the_probability_of_improvement_is_the_statistic_of_mann_and_whitney():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 7).astype(float), rng.integers(1, 8, 5).astype(float)
    found = probability_of_improvement(first, second)
    assert found.value == pytest.approx(mannwhitneyu(first, second).statistic / 35)
    assert found.low <= found.value <= found.high
    assert probability_of_improvement(first, second, sign=-1).value == pytest.approx(1 - found.value)


def test_runs_that_are_always_better_leave_no_doubt():
    assert probability_of_improvement([3.0, 4.0, 5.0], [0.0, 1.0]) == (1.0, 1.0, 1.0)
    assert probability_of_improvement([1.0, 1.0, 1.0], [1.0, 1.0]) == (0.5, 0.5, 0.5)
