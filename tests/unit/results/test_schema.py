"""What a result may be, and what it refuses."""

import pytest

from synrl_ray.results import Episodes, Interval, Result, Training, read_result, write_result

SOUND = {
    "experiment": "x",
    "policy": "ann",
    "score": "return_iqm",
    "figures": {"return_iqm": 2.0, "regret": None},
    "protocol": {"environment": "X-v0"},
}


def interval(of="return_iqm", low=1.0, high=3.0):
    return Interval(of=of, low=low, high=high, method="percentile bootstrap", over="episodes")


def trained(seed):
    return Training(seed=seed, unit="env_steps", steps=100, wall_seconds=4.0)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"score": "accuracy"}, "no figure 'accuracy'"),
        ({"intervals": (interval("loss"),)}, "no figure 'loss'"),
        ({"figures": {"return_iqm": float("nan")}}, "finite"),
        ({"figures": {"return_iqm": 10**400}}, "return_iqm is a number that no float holds"),
        ({"training": (trained(0),), "per_seed": {"lost": (10**400,)}}, "lost is a number that no float holds"),
        ({"confusion": ((1, 2), (3,))}, "confusion has 2 rows, of which some are not as long"),
        ({"training": (trained(0),), "per_seed": {"return_mean": (1.0, 2.0)}}, "2 values for 1 seeds"),
        ({"returned": 3}, "returned"),
        ({"schema": 3}, "schema"),
    ],
)
def test_a_result_that_does_not_fit_together_is_refused(changes, what):
    with pytest.raises(ValueError, match=what):
        Result(**SOUND | changes)


def test_an_interval_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match=r"begins at 3.0 and ends at 1.0"):
        interval(low=3.0, high=1.0)


def test_episodes_need_a_return_for_each_seed():
    with pytest.raises(ValueError, match="2 seeds of episodes, but 1 returns"):
        Episodes(seeds=(5, 6), returns=(1.0,))
    with pytest.raises(ValueError, match="2 seeds of episodes, but 3 digests"):
        Episodes(seeds=(5, 6), returns=(1.0, 2.0), digests=("a", "b", "c"))


def test_distinct_episodes_are_those_with_digests_of_their_own():
    assert Episodes(seeds=(1, 2, 3), returns=(0, 0, 0), digests=("a", "b", "a")).distinct == 2
    assert Episodes(seeds=(1,), returns=(0,)).distinct is None


def test_counts_are_written_and_read_as_whole_numbers(tmp_path):
    figures = {"return_iqm": 2.0, "episodes": 100}
    seeds = {"errors": (3, 4), "return_mean": (2.0, 3.5)}
    write_result(
        tmp_path, Result(**SOUND | {"figures": figures, "training": (trained(0), trained(1)), "per_seed": seeds})
    )
    written = (tmp_path / "result.json").read_text()
    assert '"episodes": 100\n' in written
    assert '"return_iqm": 2.0,\n' in written
    assert '"errors": [3, 4]' in written
    found = read_result(tmp_path)
    assert isinstance(found.figures["episodes"], int)
    assert isinstance(found.per_seed["return_mean"][0], float)


def test_figures_are_found_by_name_and_unknown_ones_refused():
    result = Result(**SOUND, intervals=(interval(),), training=(trained(3), trained(4)))
    assert result.figure("return_iqm") == 2.0
    assert (result.interval("return_iqm").high, result.interval("regret")) == (3.0, None)
    assert result.seeds == (3, 4)
    assert result.training[0].steps_per_second == 25.0
    for name in ("regret", "accuracy"):
        with pytest.raises(ValueError, match=f"no {name}"):
            result.figure(name)
