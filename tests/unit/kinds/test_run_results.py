from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.evaluation.saving import save_figure
from synrl_ray.experiment import AnnPolicy, Evaluation, Target
from synrl_ray.kinds.control.result import combine, finish
from synrl_ray.kinds.episodes import return_curve, statistics_of, steps_to_return, time_shares
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.registry import get_experiment
from synrl_ray.results import Episodes, Provenance, Result, Training
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec

EXPERIMENT = replace(get_experiment("cartpole-ppo"), evaluation=Evaluation(episodes=3, first_seed=50))
SPEC = RunSpec(experiment=EXPERIMENT, policy="ann", seed=3, num_workers=0)


@pytest.fixture
def policy():
    """Untrained: the pole falls within some ten steps."""
    torch.manual_seed(0)
    env = gym.make("CartPole-v1")
    spaces = (env.observation_space, env.action_space)
    return Policy(ActorCritic(*spaces, AnnPolicy(hidden_sizes=(8,))), *spaces)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", SPEC)


def seed_result(seed, returns, steps_to_target=None, digests=None, **more):
    fields = {
        "experiment": "x",
        "policy": "ann",
        "score": "return_mean",
        "figures": {"return_mean": float(np.mean(returns))},
        "protocol": {"environment": "X-v0"},
        "training": (
            Training(
                seed=seed,
                unit="env_steps",
                steps=1000 + seed,
                wall_seconds=2.0 + seed,
                steps_to_target=steps_to_target,
            ),
        ),
        "greedy": Episodes(seeds=tuple(range(len(returns))), returns=tuple(returns), digests=digests),
        "provenance": Provenance(commit="abc", versions={"python": "3"}),
    }
    return Result(**fields | more)


RESULTS = [
    seed_result(0, [1.0, 2.0, 3.0, 10.0], 500),
    seed_result(1, [0.0, 4.0, 4.0, 8.0]),
    seed_result(2, [2.0, 2.0], 700),
]


def aimed(mean_return=None):
    target = None if mean_return is None else Target(mean_return=mean_return, source="a test")
    return replace(SPEC, experiment=replace(EXPERIMENT, target=target))


def test_several_seeds_are_summarised_over_all_episodes():
    combined = combine(RESULTS, aimed())
    # 0 1 2 2 2 3 4 4 8 10: mean 3.6; without the two lowest and highest quarters (2 each) 2 2 2 3 4 4: mean 17/6
    assert combined.figures["return_mean"] == pytest.approx(3.6)
    assert combined.figures["return_iqm"] == pytest.approx(17 / 6)
    assert combined.figures["return_std"] == pytest.approx(np.sqrt(218 / 10 - 3.6**2))  # the squares add up to 218
    assert (combined.figures["return_min"], combined.figures["return_max"]) == (0.0, 10.0)
    assert combined.figures["episodes"] == 10
    interval = combined.interval("return_iqm")
    assert 0 <= interval.low < 17 / 6 < interval.high <= 10
    assert interval.over == "episodes, stratified by seed"


def test_several_seeds_keep_what_belongs_to_each():
    combined = combine(RESULTS, aimed())
    assert combined.seeds == (0, 1, 2)
    assert [trained.steps for trained in combined.training] == [1000, 1001, 1002]
    assert [trained.wall_seconds for trained in combined.training] == [2.0, 3.0, 4.0]
    assert [trained.steps_to_target for trained in combined.training] == [500, None, 700]
    assert combined.per_seed == {"return_mean": (4.0, 4.0, 2.0)}
    assert (combined.experiment, combined.policy) == ("x", "ann")
    assert (combined.protocol, combined.target, combined.greedy) == ({"environment": "X-v0"}, None, None)


def test_several_seeds_say_where_they_are_from():
    made = combine(RESULTS, aimed()).provenance
    assert (made.commit, made.versions) == ("abc", {"python": "3"})
    assert made.command == "synrl train cartpole-ppo --policy ann --seeds 3 --set episodes=3 first_seed=50"
    assert "seed" not in made.configuration
    assert made.configuration["experiment"]["id"] == "cartpole-ppo"
    other = seed_result(3, [1.0], provenance=Provenance(commit="def"))
    assert combine([*RESULTS, other], aimed()).provenance.commit is None  # there is not one


def test_copies_of_episodes_are_counted_over_all_seeds():
    seeds = [seed_result(0, [1.0, 2.0, 1.0], digests=("a", "b", "a")), seed_result(1, [1.0], digests=("a",))]
    assert combine(seeds, aimed()).figures["distinct_episodes"] == 2
    assert combine([*seeds, RESULTS[0]], aimed()).figures["distinct_episodes"] is None


def test_drawn_actions_are_summarised_where_all_seeds_have_them():
    drawn = Episodes(seeds=(0, 1), returns=(1.0, 3.0), digests=("a", "b"))
    figures = {"return_mean": 1.0, "sampled_return_mean": 2.0}
    seeds = [seed_result(seed, [1.0], sampled=drawn, figures=figures) for seed in (0, 1)]
    combined = combine(seeds, aimed())
    assert (combined.figures["sampled_return_mean"], combined.figures["sampled_episodes"]) == (2.0, 4)
    assert combined.per_seed["sampled_return_mean"] == (2.0, 2.0)
    assert combined.interval("sampled_return_iqm").over == "episodes, stratified by seed"
    assert "sampled_return_mean" not in combine([*seeds, RESULTS[0]], aimed()).figures


def test_what_drawing_gains_is_a_figure_with_an_interval():
    greedy = [0.0] * 20 + [100.0]
    episodes = Episodes(seeds=tuple(range(9)), returns=(3.0,) * 9)
    combined = combine([seed_result(seed, greedy, sampled=episodes) for seed in (0, 1)], aimed())
    assert combined.figures["sampled_gain_iqm"] == pytest.approx(3.0)  # the one lucky episode is no part of the IQM
    interval = combined.interval("sampled_gain_iqm")
    assert (interval.low, interval.high, interval.over) == (3.0, 3.0, "episodes, stratified by seed")
    alike = combine([seed_result(0, greedy, sampled=Episodes(seeds=tuple(range(21)), returns=tuple(greedy)))], aimed())
    assert alike.figures["sampled_gain_iqm"] == 0.0
    assert alike.interval("sampled_gain_iqm").low <= 0.0 <= alike.interval("sampled_gain_iqm").high
    assert "sampled_gain_iqm" not in combine([seed_result(0, greedy)], aimed()).figures


def test_what_a_state_is_worth_is_a_figure_with_an_interval():
    episodes = Episodes(seeds=tuple(range(9)), returns=(3.0,) * 9)
    seeds = [
        seed_result(s, [9.0] * 9, zeroed=episodes, figures={"return_mean": 9.0, "zeroed_return_mean": 3.0})
        for s in (0, 1)
    ]
    combined = combine(seeds, aimed())
    assert (combined.figures["zeroed_return_iqm"], combined.figures["zeroed_gain_iqm"]) == (3.0, -6.0)
    assert combined.per_seed["zeroed_return_mean"] == (3.0, 3.0)
    interval = combined.interval("zeroed_gain_iqm")
    assert (interval.low, interval.high) == (-6.0, -6.0)
    assert not any("zeroed" in name for name in combine([*seeds, RESULTS[0]], aimed()).figures)


def test_cut_episodes_of_several_seeds_are_added_up():
    protocol = {"environment": "X-v0", "cut_after": 27_000}
    results = [
        replace(result, protocol={**protocol, "episodes_cut": number})
        for result, number in zip(RESULTS, (2, 0, 1), strict=True)
    ]
    assert combine(results, aimed()).protocol == {**protocol, "episodes_cut": 3}


def test_several_seeds_count_those_that_reached_the_target_and_those_that_end_there():
    target = combine(RESULTS, aimed(4.0)).target
    assert target.bounds == {"mean_return": 4.0}
    assert target.in_training == 2  # seeds 0 and 2
    assert target.at_end == 2  # seeds 0 and 1, whose mean is 4


def test_figures_of_episodes_and_their_interval():
    figures, interval = statistics_of([Episodes(seeds=(5, 6, 7), returns=(1.0, 2.0, 3.0), digests=("a", "b", "b"))])
    assert figures == {
        "return_mean": 2.0,
        "return_std": pytest.approx(np.sqrt(2 / 3)),
        "return_iqm": 2.0,
        "return_min": 1.0,
        "return_max": 3.0,
        "episodes": 3,
        "distinct_episodes": 2,
    }
    assert (interval.of, interval.over, interval.level) == ("return_iqm", "episodes", 0.95)
    assert (interval.low, interval.high) == (pytest.approx(1.0, abs=0.5), pytest.approx(3.0, abs=0.5))
    assert interval.method == "percentile bootstrap, 2,000 resamples"


@pytest.mark.parametrize(
    ("target", "evaluations", "expected"),
    [
        (475.0, [None, 100.0, 480.0, 500.0], 300),
        (475.0, [475.0], 100),
        (475.0, [474.9, None], None),
        (475.0, [], None),
        (-5.0, [-9.0, -5.0, -7.0], 200),
        (0.0, [-1.0, 0.0], 200),
        (-5.0, [0.0], 100),
    ],
)
def test_steps_to_target_is_the_first_evaluation_that_reached_it(folder, target, evaluations, expected):
    for i, value in enumerate(evaluations, 1):
        row = {"iteration": i, "env_steps": 100 * i, "return_mean": 0.0}
        folder.append_metrics(row if value is None else {**row, "evaluation_return_mean": value})
    assert steps_to_return(folder, Target(mean_return=target, source="a test")) == expected


def test_without_a_target_there_are_no_steps_to_it(folder):
    folder.append_metrics({"iteration": 1, "env_steps": 5, "evaluation_return_mean": 500.0})
    assert steps_to_return(folder, None) is None


def test_finished_run_has_result_and_learning_curve(folder, policy):
    folder.append_metrics({"iteration": 1, "env_steps": 64, "return_mean": 9.0})
    position = Position(iteration=1, steps=64, episodes=2, wall_seconds=0.5)
    result = finish(folder, SPEC, policy, position)
    assert folder.result() == result
    assert (result.experiment, result.policy, result.seeds) == ("cartpole-ppo", "ann", (3,))
    (trained,) = result.training
    assert (trained.steps, trained.wall_seconds, trained.steps_per_second) == (64, 0.5, 128.0)
    assert (trained.episodes, trained.steps_to_target, trained.num_workers) == (2, None, 0)
    assert result.greedy.seeds == (50, 51, 52)
    assert len(result.greedy.returns) == result.figures["episodes"] == 3
    assert result.figures["return_mean"] == pytest.approx(np.mean(result.greedy.returns))
    assert result.greedy.returns == result.greedy.lengths  # one point for each step
    assert result.figures["distinct_episodes"] == 3
    assert result.protocol["first_seed"] == 50
    assert result.energy["decisions"] == sum(result.greedy.lengths)
    assert result.provenance.command == "synrl train cartpole-ppo --policy ann --seed 3 --set episodes=3 first_seed=50"
    assert result.provenance.configuration == SPEC.to_json()
    assert (folder.path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_drawn_actions_are_judged_too_alike_each_time(folder, policy):
    folder.append_metrics({"iteration": 1, "env_steps": 64, "return_mean": 9.0})
    position = Position(iteration=1, steps=64, episodes=2, wall_seconds=0.5)
    result, again = (finish(folder, SPEC, policy, position) for _ in range(2))
    assert result.sampled == again.sampled
    assert result.sampled.seeds == result.greedy.seeds
    assert result.sampled.digests != result.greedy.digests
    assert result.figures["sampled_return_mean"] == pytest.approx(np.mean(result.sampled.returns))
    assert result.protocol["sampled"] == {"seed": 50, "environments_at_once": 32}


def test_the_actions_of_q_learning_are_not_drawn(folder, policy):
    experiment = replace(get_experiment("cartpole-dqn"), evaluation=EXPERIMENT.evaluation)
    spec = replace(SPEC, experiment=experiment)
    folder.append_metrics({"iteration": 1, "env_steps": 64, "return_mean": 9.0})
    result = finish(folder, spec, policy, Position(iteration=1, steps=64, episodes=2, wall_seconds=0.5))
    assert result.sampled is None
    assert "sampled" not in result.protocol


def test_run_in_which_no_episode_has_ended_still_gets_its_result(folder, policy):
    folder.append_metrics({"iteration": 1, "env_steps": 4, "return_mean": None})
    finish(folder, SPEC, policy, Position(iteration=1, steps=4, episodes=0, wall_seconds=0.5))
    assert folder.result().training[0].episodes == 0


def test_an_interval_in_the_curve_is_that_of_the_mean_which_it_stands_beside(tmp_path, monkeypatch):
    """Of skewed returns that of the interquartile mean does not hold the mean."""
    returns = (0.0, *[100.0] * 19)
    run = RunFolder.create(tmp_path / "run", SPEC)
    run.append_metrics({"iteration": 1, "env_steps": 100, "return_mean": 9.0})
    run.write_result(seed_result(SPEC.seed, returns))
    drawn = []
    monkeypatch.setattr("synrl_ray.kinds.episodes.learning_curve", lambda curves, **_: drawn.extend(curves))
    return_curve([run])
    (mean,), (low,), (high,) = drawn[0].evaluations[1:]
    assert mean == 95.0
    assert low < mean < high == 100.0


def test_curves_of_several_seeds_are_drawn(tmp_path):
    folders = []
    for seed in (0, 1):
        run = RunFolder.create(tmp_path / f"{seed}", replace(SPEC, seed=seed))
        for i in (1, 2, 3):
            row = {"iteration": i, "env_steps": 100 * i, "return_mean": 10.0 * i + seed}
            bounds = {"evaluation_return_mean": 9.0, "evaluation_return_low": 8.0, "evaluation_return_high": 10.0}
            run.append_metrics(row | bounds if i == 2 else row)
        folders.append(run)
    save_figure(return_curve(folders), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_time_shares_are_of_all_seconds_that_the_rows_tell():
    rows = [
        {"seconds_environment": 1.0, "seconds_policy": 2.0, "seconds_learner": None},
        {"seconds_environment": 1.0, "seconds_policy": 2.0, "seconds_learner": 2.0},
    ]
    assert time_shares(rows) == {"environment": 0.25, "policy": 0.5, "learner": 0.25}
    assert time_shares([{"iteration": 1}]) is None
    assert time_shares([]) is None
