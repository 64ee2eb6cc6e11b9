"""``result.json`` is written whole, read back alike, and damage is one line."""

import json

import pytest

from synrl_ray.errors import UserError
from synrl_ray.results import (
    Adaptation,
    Episodes,
    Film,
    Interval,
    Provenance,
    Result,
    TargetReached,
    Training,
    read_result,
    write_result,
)

FULL = Result(
    experiment="x",
    policy="spiking",
    score="return_iqm",
    figures={"return_iqm": 1 / 3, "regret": None},
    intervals=(Interval(of="return_iqm", low=0.1, high=0.5, method="percentile bootstrap", over="episodes"),),
    protocol={"environment": "X-v0", "greedy": True},
    training=(Training(seed=0, unit="env_steps", steps=9, wall_seconds=0.5, time_shares={"learner": 1.0}),),
    per_seed={"return_mean": (1.5,)},
    target=TargetReached(bounds={"return_mean": 1.0}, in_training=0, at_end=1),
    greedy=Episodes(seeds=(7, 8), returns=(0.1, 0.2), lengths=(3, 4), digests=("aa", "bb")),
    sampled=Episodes(seeds=(7, 8), returns=(0.0, 0.3)),
    adaptation=Adaptation(by_step={"loss": (2.0, 1.0)}, env_steps=(0.0, 5.0)),
    energy={"energy_ratio": 0.5},
    confusion=((3, 1), (0, 4)),
    comparison={"learners": {}},
    provenance=Provenance(commit="abc", command="synrl train x", configuration={"seed": 0}, versions={"torch": "2"}),
    run="runs/x",
    video=Film(path="a.mp4"),
)


def test_what_was_written_is_read_back_alike(tmp_path):
    write_result(tmp_path, FULL)
    assert read_result(tmp_path) == FULL
    assert json.loads((tmp_path / "result.json").read_text())["schema"] == 2


def test_a_column_of_numbers_takes_one_line():
    text = FULL.as_json()
    assert '\n    "returns": [0.1, 0.2],\n' in text
    assert '\n  "confusion": [\n    [3, 1],\n    [0, 4]\n  ],\n' in text
    assert json.loads(text)["figures"] == {"return_iqm": 1 / 3, "regret": None}


def test_a_folder_without_result_has_none(tmp_path):
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "no JSON object"),
        ('{"schema": 3}', "schema 3 is not known"),
        ('{"schema": 2}', "experiment is missing"),
        ("{}", "no 'protocol'"),
        ('{"policy": "ann", "protocol": {}}', "none of the figures"),
        ('{"policy": "ann", "protocol": {}, "return_iqm": NaN}', "finite"),
        ("[" * 100_000, "damaged"),
        ('{"policy": "ann", "protocol": {}, "return_iqm": 1.0, "return_iqm_ci95": []}', "damaged"),
        ('{"policy": "ann", "protocol": {}, "return_iqm": 1' + "0" * 400 + "}", "damaged"),
    ],
)
def test_damage_is_one_line_that_names_the_file(tmp_path, content, reason):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_result(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'result.json'} is damaged (")
    assert "restore it" in str(caught.value)


def test_a_figure_that_is_out_of_its_type_names_its_place(tmp_path):
    data = json.loads(FULL.as_json())
    data["training"][0]["steps"] = -1
    (tmp_path / "result.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"training\[0\].steps must be >= 0, got -1"):
        read_result(tmp_path)
