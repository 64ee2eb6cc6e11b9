"""Two results agree up to rounding, or the first place where they part is named."""

from dataclasses import replace

import pytest

from synrl_ray.results import Adaptation, Episodes, Interval, Result, differences

RECORDED = Result(
    experiment="x",
    policy="ann",
    score="return_iqm",
    figures={"return_iqm": 10.0, "regret": None},
    intervals=(Interval(of="return_iqm", low=9.0, high=11.0, method="percentile bootstrap", over="episodes"),),
    protocol={},
    greedy=Episodes(seeds=(5, 6), returns=(9.0, 11.0), lengths=(3, 4), digests=("a", "b")),
    adaptation=Adaptation(by_step={"loss": (2.0, 1.0)}),
    confusion=((1, 2), (3, 4)),
    comparison={"learners": {"table": {"share": [0.5, 1.0], "reached": None}}, "text": "in words"},
)


def test_what_differs_by_rounding_agrees():
    greedy = replace(RECORDED.greedy, returns=(9.0 + 1e-9, 11.0), digests=("x", "y"))
    comparison = {"learners": {"table": {"share": [0.5 + 1e-9, 1.0], "reached": None}}, "text": "in other words"}
    found = replace(RECORDED, figures={"return_iqm": 10.0 + 1e-6, "regret": None}, greedy=greedy, comparison=comparison)
    assert differences(RECORDED, found) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"figures": {"return_iqm": 10.01}, "intervals": ()}, "return_iqm is recorded as 10, found 10.01"),
        ({"figures": {"return_iqm": 10.0, "regret": 0.0}}, "regret is recorded as nothing, found 0"),
        (
            {"intervals": (replace(RECORDED.intervals[0], high=12.0),)},
            "the interval of return_iqm is recorded as 9 to 11, found 9 to 12",
        ),
        (
            {"greedy": replace(RECORDED.greedy, returns=(9.0, 10.0))},
            "returns of greedy episodes differ: that of seed 6 is recorded as 11, found 10",
        ),
        ({"greedy": replace(RECORDED.greedy, lengths=(3, 5))}, "lengths of greedy episodes differ: that of seed 6"),
        (
            {"greedy": replace(RECORDED.greedy, digests=("a", "a"))},
            "2 greedy episodes are recorded as distinct, found 1",
        ),
        ({"greedy": replace(RECORDED.greedy, seeds=(5, 7))}, "the greedy episodes have other seeds"),
        ({"adaptation": Adaptation(by_step={"loss": (2.0, 3.0)})}, "by step of loss differ: number 1 is recorded as 1"),
        ({"adaptation": Adaptation(by_step={"loss": (2.0,)})}, "by step of loss differ: 2 are recorded, 1 found"),
        ({"confusion": ((1, 2), (4, 3))}, "the confusion of classes differs"),
        *(
            ({"comparison": {"learners": learners}}, "the comparison of learners differs")
            for learners in (
                {"table": {"share": [0.5, 0.9], "reached": None}},
                {"table": {"share": [0.5], "reached": None}},
                {"table": {"share": [0.5, 1.0], "reached": 20}},
                {"table": {"share": [0.5, 1.0]}},
                [],
                None,
            )
        ),
    ],
)
def test_each_difference_is_named(changes, line):
    (found,) = differences(RECORDED, replace(RECORDED, **changes))
    assert found.startswith(line)


def test_what_only_one_of_them_knows_is_no_difference():
    less = replace(RECORDED, greedy=None, adaptation=None, confusion=None, intervals=(), comparison=None)
    assert differences(RECORDED, less) == differences(less, RECORDED) == []
