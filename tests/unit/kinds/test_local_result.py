from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.experiment import PathTarget, RegretTarget
from synrl_ray.kinds.evaluating import evaluate_folder, export_folder
from synrl_ray.kinds.local.exact import exact_judge
from synrl_ray.kinds.local.result import combine, finish
from synrl_ray.policies.local.policy import LocalPolicy, load_local_policy
from synrl_ray.policies.local.q_learning.agent import QTable
from synrl_ray.registry import get_experiment
from synrl_ray.results import Episodes, Result, Training
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec

EXPERIMENT = get_experiment("taxi-q-learning")
SPEC = RunSpec(experiment=EXPERIMENT, policy="tabular", seed=0, num_workers=0)


@pytest.fixture
def policy():
    pair = (spaces.Discrete(500), spaces.Discrete(6))
    agent = QTable(*pair, EXPERIMENT.algorithm)
    agent.q.copy_(torch.from_numpy(np.random.default_rng(0).random((500, 6))))
    return LocalPolicy(agent, EXPERIMENT.algorithm, *pair)


@pytest.fixture
def folder(tmp_path, policy):
    run = RunFolder.create(tmp_path / "run", SPEC)
    policy.save(run.path, experiment=EXPERIMENT.id, environment={"id": "Taxi-v3", "kwargs": {}})
    return run


def test_a_policy_survives_its_files(folder, policy):
    loaded = load_local_policy(folder.path)
    assert loaded.settings == policy.settings
    np.testing.assert_array_equal(loaded.agent.q.numpy(), policy.agent.q.numpy())
    states = np.arange(500)
    np.testing.assert_array_equal(
        loaded.act(states, loaded.initial_state(500))[0], policy.agent.q.numpy().argmax(axis=1)
    )


@pytest.mark.parametrize("damage", ["", "{}", '{"format": "local-9"}', '{"format": "local-1", "settings": {}}'])
def test_a_damaged_policy_is_one_line(folder, damage):
    (folder.path / "policy.json").write_text(damage)
    with pytest.raises(UserError, match="is damaged"):
        load_local_policy(folder.path)


def test_a_finished_run_has_its_exact_score_and_evaluating_it_again_gives_the_same(folder, policy):
    for steps, regret in ((100, 5.0), (200, 0.0), (300, 1.0)):
        folder.append_metrics(
            {
                "iteration": steps // 100, "env_steps": steps, "wall_seconds": steps / 10, "return_mean": -1.0,
                "evaluation_regret": regret,
            }
        )  # fmt: skip
    position = Position(iteration=3, steps=300, episodes=2, wall_seconds=30.0)
    result = finish(folder, SPEC, policy, position, exact_judge(EXPERIMENT.environment))
    assert result == folder.result()
    figures, (trained,) = result.figures, result.training
    assert (result.score, result.seeds, result.sampled) == ("regret", (0,), None)
    assert figures["optimum"] == pytest.approx(7.93)
    assert figures["regret"] == pytest.approx(figures["optimum"] - figures["value"])
    assert (trained.steps_to_target, trained.seconds_to_target, trained.episodes) == (200, 20.0, 2)
    assert (result.target.bounds, result.target.in_training, result.target.at_end) == ({"regret": 0.0}, 1, 0)
    assert figures["num_first_states"] == 300
    assert len(result.greedy.returns) == figures["episodes"] == 100
    assert result.provenance.command == "synrl train taxi-q-learning"
    for name in ("learning_curve.png", "return_curve.png", "plasticity.png"):
        assert (folder.path / name).read_bytes().startswith(b"\x89PNG")
    again = evaluate_folder(folder.path, episodes=3)
    assert again.figures["regret"] == result.figures["regret"]
    assert again.figures["episodes"] == 3
    assert again.greedy.returns == result.greedy.returns[:3]


def test_greedy_episodes_that_never_end_are_cut(folder, policy, monkeypatch):
    monkeypatch.setattr("synrl_ray.envs.time_limit.MOST_STEPS", 30)
    policy.agent.q.zero_()  # always south: it never arrives
    endless = replace(EXPERIMENT.environment, kwargs={"max_episode_steps": -1})
    policy.save(folder.path, environment={"id": endless.id, "kwargs": endless.kwargs})
    protocol = evaluate_folder(folder.path, episodes=4, seed=0).protocol
    assert (protocol["time_limit"], protocol["cut_after"], protocol["episodes_cut"]) == (None, 30, 4)


def test_exporting_a_table_is_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="holds an agent of local learning"):
        export_folder(folder.path, tmp_path / "x.nir")


def aimed(target):
    return replace(SPEC, experiment=replace(EXPERIMENT, target=target))


def seed_result(seed, figures, steps=100):
    return Result(
        experiment="x",
        policy="tabular",
        score="regret",
        figures={"optimum": 7.93, "return_mean": 1.5, **figures},
        protocol={},
        training=(
            Training(
                seed=seed,
                unit="env_steps",
                steps=1000,
                wall_seconds=1.0,
                steps_to_target=steps,
                seconds_to_target=steps and steps / 100,
            ),
        ),
        greedy=Episodes(seeds=(0, 1), returns=(1.0, 2.0)),
    )


def test_seeds_are_combined_as_one_score_each():
    target = RegretTarget(regret=0.0, source="a test")
    combined = combine([seed_result(0, {"regret": 0.0}), seed_result(1, {"regret": 0.0}, 300)], aimed(target))
    assert combined.per_seed["regret"] == (0.0, 0.0)
    assert (combined.score, combined.figures["regret_iqm"]) == ("regret_iqm", 0.0)
    assert combined.figures["steps_to_target_iqm"] == 200
    assert combined.interval("steps_to_target_iqm").over == combined.interval("regret_iqm").over == "seeds"
    assert combined.figures["optimum"] == 7.93
    assert combined.target.bounds == {"regret": 0.0}
    assert (combined.target.in_training, combined.target.at_end) == (2, 2)
    missed = combine([seed_result(0, {"regret": 0.5}), seed_result(1, {"regret": 0.0}, None)], aimed(target))
    assert missed.figures["steps_to_target_iqm"] is None
    assert missed.interval("steps_to_target_iqm") is None
    assert (missed.target.in_training, missed.target.at_end) == (1, 1)


def test_the_seeds_of_a_maze_have_success_and_path_ratio():
    def result(seed, success, ratio):
        return seed_result(seed, {"regret": 1 - success, "success_rate": success, "path_ratio": ratio})

    target = PathTarget(success_rate=0.95, path_ratio=1.1, source="a test")
    combined = combine([result(0, 1.0, 1.0), result(1, 0.9, 1.0), result(2, 1.0, 1.2)], aimed(target))
    assert combined.score == "success_rate_iqm"
    assert combined.per_seed["success_rate"] == (1.0, 0.9, 1.0)
    assert combined.per_seed["path_ratio"] == (1.0, 1.0, 1.2)
    assert combined.target.bounds == {"success_rate": 0.95, "path_ratio": 1.1}
    assert combined.target.at_end == 1
    nowhere = combine([result(0, 0.0, None)], aimed(target))
    assert nowhere.figures["path_ratio_iqm"] is None
    assert nowhere.target.at_end == 0
