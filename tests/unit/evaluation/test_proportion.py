import math

import pytest

from synrl_ray.evaluation.proportion import wilson_interval

Z = 1.959963984540054  # of 95 %


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_that_of_the_published_table(successes, trials, low, high):
    """Newcombe (1998), doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    assert wilson_interval(successes, trials) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("successes", "trials"), [(2113, 2115), (1, 2), (9800, 10000), (0, 7), (7, 7)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_interval_is_that_of_scipy(successes, trials, confidence):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("trials", [1, 2, 10, 2115, 10_000])
def test_none_and_all_of_n_reach_the_end(trials):
    """With p = 0 the ends are 0 and z^2 / (n + z^2); p = 1 mirrors them."""
    width = Z * Z / (trials + Z * Z)
    low, high = wilson_interval(0, trials)
    assert (low, high) == (pytest.approx(0, abs=1e-15), pytest.approx(width))
    low, high = wilson_interval(trials, trials)
    assert (low, high) == (pytest.approx(1 - width), pytest.approx(1, abs=1e-15))


def test_half_of_n_is_symmetric():
    """With p = 1/2: half width z / (2 sqrt(n + z^2))."""
    low, high = wilson_interval(50, 100)
    assert (low, high) == pytest.approx(
        (0.5 - Z / (2 * math.sqrt(100 + Z * Z)), 0.5 + Z / (2 * math.sqrt(100 + Z * Z)))
    )


def test_interval_lies_in_zero_to_one_around_the_proportion_and_mirrors():
    for trials in (1, 3, 50):
        for successes in range(trials + 1):
            low, high = wilson_interval(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1
            mirrored = wilson_interval(trials - successes, trials)
            assert (1 - high, 1 - low) == pytest.approx(mirrored)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5), (1, -1)])
def test_counts_that_do_not_fit_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"{successes} successes in {trials} trials is no proportion"):
        wilson_interval(successes, trials)
