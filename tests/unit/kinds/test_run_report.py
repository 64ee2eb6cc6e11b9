import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from synrl_ray.kinds.control import printing as report
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.results import Film, Interval, Result, TargetReached, Training
from synrl_ray.running.kind import Outcome
from synrl_ray.running.spec import RunSpec

SCORE = Result(
    experiment="cartpole-ppo",
    policy="ann",
    score="return_iqm",
    figures={
        "return_mean": 487.26,
        "return_std": 30.04,
        "return_iqm": 500.0,
        "return_min": 321.0,
        "return_max": 500.0,
        "episodes": 100,
    },
    intervals=(Interval(of="return_iqm", low=498.04, high=500.0, method="percentile bootstrap", over="episodes"),),
    protocol={"environment": "CartPole-v1", "time_limit": 500, "first_seed": 1000000},
    run="runs/x",
)


def trained(seed, steps, seconds, steps_to_target=None):
    return Training(seed=seed, unit="env_steps", steps=steps, wall_seconds=seconds, steps_to_target=steps_to_target)


ONE = replace(SCORE, policy="spiking", training=(trained(3, 100352, 61.4),))
SEVERAL = replace(
    SCORE,
    training=(trained(0, 100352, 61.44, 20480), trained(1, 98304, 60.0)),
    per_seed={"return_mean": (500.0, 474.52)},
    target=TargetReached(bounds={"mean_return": 475.0}, in_training=1, at_end=0),
)


def lines_of(capsys, function, *arguments):
    function(*arguments)
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def outcome(result, folder="runs/x", runs=("runs/x",), **spec):
    given = {"experiment": get_experiment("cartpole-ppo"), "policy": result.policy, "seed": 0, "num_workers": 0}
    return Outcome(result=result, folder=Path(folder), runs=tuple(map(Path, runs)), spec=RunSpec(**{**given, **spec}))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("synrl_ray.commands.shutil.which", lambda name: f"/bin/{name}")


def test_score_has_interval_spread_and_protocol(capsys):
    assert lines_of(capsys, report.print_score, SCORE) == [
        "Return IQM    500.0  (95 % interval 498.0 to 500.0)",
        "Return mean   487.3 ± 30.0  (lowest 321.0, highest 500.0)",
        "Protocol      100 greedy episodes of CartPole-v1, at most 500 steps each, environment seeds from 1000000; "
        "interval: bootstrap of the IQM over episodes",
    ]


def test_drawn_actions_and_copies_of_episodes_are_said(capsys):
    figures = {**SCORE.figures, "distinct_episodes": 4, "sampled_return_iqm": 350.0}
    interval = replace(SCORE.intervals[0], of="sampled_return_iqm", low=340.0, high=360.0)
    lines = lines_of(
        capsys, report.print_score, replace(SCORE, figures=figures, intervals=(*SCORE.intervals, interval))
    )
    assert lines[2:4] == [
        "Drawn IQM     350.0  (95 % interval 340.0 to 360.0; the same environments, actions drawn)",
        "Distinct      4 of 100 greedy episodes; the others are copies",
    ]
    figures["distinct_episodes"] = 100
    assert not any("Distinct" in line for line in lines_of(capsys, report.print_score, replace(SCORE, figures=figures)))


@pytest.mark.parametrize(
    ("gain", "bounds", "words"),
    [
        (242.04, (200.04, 280.0), "drawn actions earn 242.0 more  (95 % interval +200.0 to +280.0)"),
        (-1.5, (-2.0, -1.0), "drawn actions earn 1.5 less  (95 % interval -2.0 to -1.0)"),
        (1.5, (-0.1, 2.0), None),
        (0.0, (0.0, 0.0), None),
    ],
)
def test_greedy_and_drawn_actions_that_differ_beyond_chance_are_said_to(capsys, gain, bounds, words):
    figures = {**SCORE.figures, "sampled_return_iqm": 350.0, "sampled_gain_iqm": gain}
    interval = replace(SCORE.intervals[0], of="sampled_gain_iqm", low=bounds[0], high=bounds[1])
    told = lines_of(capsys, report.print_score, replace(SCORE, figures=figures, intervals=(interval,)))
    found = [line for line in told if line.startswith("Differ")]
    assert found == ([] if words is None else [f"Differ        {words}: greedy and drawn differ beyond chance"])


def test_what_a_policy_earns_without_its_state_is_said(capsys):
    figures = {**SCORE.figures, "zeroed_return_iqm": 20.0, "zeroed_gain_iqm": -80.0}
    low, high = (
        replace(SCORE.intervals[0], of="zeroed_return_iqm", low=19.0, high=21.0),
        replace(SCORE.intervals[0], of="zeroed_gain_iqm", low=-90.0, high=-70.0),
    )
    told = lines_of(capsys, report.print_score, replace(SCORE, figures=figures, intervals=(low, high)))
    assert told[2:4] == [
        "Zeroed IQM    20.0  (95 % interval 19.0 to 21.0; its state as at the start before every decision)",
        "Differ        without its state it earns 80.0 less  (95 % interval -90.0 to -70.0): what it remembers counts "
        "beyond chance",
    ]


def test_episodes_that_had_to_be_cut_are_said(capsys):
    protocol = {"environment": "X-v0", "first_seed": 5, "time_limit": None, "cut_after": 27000, "episodes_cut": 3}
    lines = lines_of(capsys, report.print_score, replace(SCORE, protocol=protocol))
    assert "100 greedy episodes of X-v0, at most 27,000 steps each, environment seeds from 5;" in lines[-2]
    assert lines[-1] == (
        "Cut           3 of 100 episodes had not ended after 27,000 steps; the environment sets no time limit"
    )
    protocol["episodes_cut"] = 0
    assert "Protocol" in lines_of(capsys, report.print_score, replace(SCORE, protocol=protocol))[-1]


@pytest.mark.parametrize("protocol", [{"time_limit": None}, {}])
def test_protocol_without_a_time_limit_mentions_none(capsys, protocol):
    result = replace(SCORE, protocol={"environment": "X-v0", "first_seed": 5, **protocol})
    assert "100 greedy episodes of X-v0, environment seeds from 5;" in lines_of(capsys, report.print_score, result)[-1]


def test_one_run_is_reported_with_speed_files_and_what_to_try_next(capsys):
    lines = lines_of(capsys, report.print_outcome, outcome(ONE))
    assert lines[1] == "cartpole-ppo (spiking, seed 3): 100,352 environment steps in 61 s, 1,634 steps/s"
    assert lines[-6:] == [
        "Files         runs/x/  (result.json, learning_curve.png, policy)",
        "Look at it    synrl watch runs/x",
        "Film it       synrl evaluate runs/x --video runs/x/episode.mp4",
        "Report        synrl report runs/x --out report.html",
        "Share it      synrl pack runs/x --out policy.synrl",
        "Compare       synrl train cartpole-ppo --policy ann --run-dir runs/x-ann",
    ]


def test_ann_run_is_compared_with_the_spiking_one(capsys):
    run = "runs/cartpole-ppo/ann-seed0"
    lines = lines_of(capsys, report.print_outcome, outcome(replace(ONE, policy="ann"), run, [run]))
    assert lines[-1] == "Compare       synrl train cartpole-ppo"


def test_the_comparison_has_the_settings_of_the_run(capsys):
    changed = apply_overrides(get_experiment("cartpole-ppo"), ["lr=0.5", "spiking.hidden_sizes=[8]", "env_steps=100"])
    run = "my runs/spiking-seed3"
    spec = {"experiment": changed, "seed": 3, "num_workers": 2, "num_learners": 1}
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, run, [run], **spec))
    assert (
        lines[-4] == "Film it       synrl evaluate 'my runs/spiking-seed3' --video 'my runs/spiking-seed3/episode.mp4'"
    )
    words = shlex.split(lines[-1])
    assert words[:6] == ["Compare", "synrl", "train", "cartpole-ppo", "--policy", "ann"]
    assert words[6:12] == ["--seed", "3", "--num-workers", "2", "--num-learners", "1"]
    assert words[12] == "--set"
    assert apply_overrides(get_experiment("cartpole-ppo"), words[13:-2]) == changed
    assert words[-2:] == ["--run-dir", "my runs/ann-seed3"]


def test_a_twin_that_was_trained_is_judged_instead_of_trained_again(capsys):
    twin = Path("runs/cartpole-ppo/ann-seed0")
    twin.mkdir(parents=True)
    run = "runs/cartpole-ppo/spiking-seed0"
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, run, [run]))
    assert lines[-1].startswith("Share it ")  # training has begun there, and this command would be refused
    (twin / "policy.json").touch()
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, run, [run]))
    assert lines[-1] == "Compare       synrl evaluate runs/cartpole-ppo/ann-seed0"


def test_a_video_is_advised_only_where_the_environment_renders(capsys):
    shower = get_experiment("shower-ppo")
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, experiment=shower))
    assert "Judge again   synrl evaluate runs/x" in lines
    assert not any("--video" in line or "synrl watch" in line for line in lines)


def test_an_experiment_that_is_not_at_hand_is_compared_with_nothing(capsys):
    elsewhere = replace(get_experiment("cartpole-ppo"), id="gone")
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, experiment=elsewhere))
    assert lines[-1].startswith("Share it ")


def test_several_seeds_are_reported_as_a_table(capsys):
    runs = ("runs/x/ann-seed0", "runs/x/ann-seed1")
    lines = lines_of(capsys, report.print_outcome, outcome(SEVERAL, "runs/x/ann-2seeds", runs))
    assert lines[1] == "cartpole-ppo (ann), seeds 0, 1"
    assert [re.split(r"\s{2,}", line.strip()) for line in lines[2:5]] == [
        ["seed", "steps", "seconds", "greedy return", "steps to target"],
        ["0", "100,352", "61.4", "500.0", "20,480"],
        ["1", "98,304", "60.0", "474.5", "-"],
    ]
    assert "1 of 2 seeds reached 475, 0 of 2 end there" in lines
    assert lines[-5:] == [
        "Files         runs/x/ann-2seeds/  (result.json, learning_curve.png)",
        "Look at it    synrl watch runs/x/ann-seed0",
        "Film it       synrl evaluate runs/x/ann-seed0 --video runs/x/ann-seed0/episode.mp4",
        "Report        synrl report runs/x/ann-seed0 runs/x/ann-seed1 --out report.html",
        "Share it      synrl pack runs/x/ann-seed0 --out policy.synrl",
    ]


def test_several_seeds_without_a_target_do_not_mention_one(capsys):
    lines = lines_of(capsys, report.print_outcome, outcome(replace(SEVERAL, target=None), runs="ab"))
    assert not any("reached" in line for line in lines)


def test_evaluation_names_run_policy_environment_and_video(capsys):
    lines = lines_of(capsys, report.print_evaluation, replace(SCORE, video=Film(path="a.mp4")))
    assert lines[0] == "runs/x: ann policy on CartPole-v1"
    assert lines[-1] == "Video         a.mp4"
    lines = lines_of(capsys, report.print_evaluation, SCORE)
    assert lines[-1].startswith("Protocol ")


@pytest.mark.parametrize("name", ["runs/[red]x", "runs/x[1]", "runs/[/x]", "runs/:smile:"])
def test_paths_are_printed_as_they_are(capsys, name):
    lines = lines_of(capsys, report.print_evaluation, replace(SCORE, run=name))
    assert lines[0] == f"{name}: ann policy on CartPole-v1"
    lines = lines_of(capsys, report.print_outcome, outcome(ONE, name, [name]))
    assert f"Files         {name}/  (result.json, learning_curve.png, policy)" in lines
