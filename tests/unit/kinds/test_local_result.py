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
    assert result["optimum"] == pytest.approx(7.93)
    assert result["regret"] == pytest.approx(result["optimum"] - result["value"])
    assert (result["env_steps_to_target"], result["seconds_to_target"]) == (200, 20.0)
    assert result["num_first_states"] == 300
    assert {"return_mean", "return_iqm", "return_ci95", "protocol", "versions", "episodes", "energy"} <= set(result)
    for name in ("learning_curve.png", "return_curve.png", "plasticity.png"):
        assert (folder.path / name).read_bytes().startswith(b"\x89PNG")
    again = evaluate_folder(folder.path, episodes=3)
    assert again["regret"] == result["regret"]
    assert again["evaluation_episodes"] == 3


def test_greedy_episodes_that_never_end_are_cut(folder, policy, monkeypatch):
    monkeypatch.setattr("synrl_ray.envs.time_limit.MOST_STEPS", 30)
    policy.agent.q.zero_()  # always south: it never arrives
    endless = replace(EXPERIMENT.environment, kwargs={"max_episode_steps": -1})
    policy.save(folder.path, environment={"id": endless.id, "kwargs": endless.kwargs})
    protocol = evaluate_folder(folder.path, episodes=4, seed=0)["protocol"]
    assert (protocol["time_limit"], protocol["cut_after"], protocol["episodes_cut"]) == (None, 30, 4)


def test_exporting_a_table_is_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="holds an agent of local learning"):
        export_folder(folder.path, tmp_path / "x.nir")


def aimed(target):
    return replace(SPEC, experiment=replace(EXPERIMENT, target=target))


def test_seeds_are_combined_as_one_score_each():
    def result(seed, regret, steps):
        return {
            "experiment": "x", "policy": "tabular", "algorithm": "q_learning", "seed": seed, "env_steps": 1000,
            "wall_seconds": 1.0, "env_steps_to_target": steps, "seconds_to_target": steps and steps / 100,
            "regret": regret, "optimum": 7.93, "return_mean": 1.0, "returns": [1.0, 2.0], "protocol": {},
            "versions": {},
        }  # fmt: skip

    combined = combine([result(0, 0.0, 100), result(1, 0.0, 300)], aimed(RegretTarget(regret=0.0, source="a test")))
    assert combined["regret_per_seed"] == [0.0, 0.0]
    assert combined["regret_iqm"] == 0.0
    assert combined["env_steps_to_target_iqm"] == 200
    assert combined["target"] == {"regret": 0.0}
    assert (combined["seeds_that_reached_target"], combined["seeds_that_end_at_target"]) == (2, 2)
    missed = combine([result(0, 0.5, 100), result(1, 0.0, None)], aimed(RegretTarget(regret=0.0, source="a test")))
    assert missed["env_steps_to_target_iqm"] is None
    assert (missed["seeds_that_reached_target"], missed["seeds_that_end_at_target"]) == (1, 1)


def test_the_seeds_of_a_maze_have_success_and_path_ratio():
    def result(seed, success, ratio):
        return {
            "experiment": "x", "policy": "spiking", "algorithm": "r_stdp", "seed": seed, "env_steps": 1000,
            "wall_seconds": 1.0, "env_steps_to_target": 100, "seconds_to_target": 1.0, "regret": 1 - success,
            "optimum": 1.0, "success_rate": success, "path_ratio": ratio, "return_mean": 1.0, "returns": [1.0, 2.0],
            "protocol": {}, "versions": {},
        }  # fmt: skip

    target = PathTarget(success_rate=0.95, path_ratio=1.1, source="a test")
    combined = combine([result(0, 1.0, 1.0), result(1, 0.9, 1.0), result(2, 1.0, 1.2)], aimed(target))
    assert combined["success_rate_per_seed"] == [1.0, 0.9, 1.0]
    assert combined["path_ratio_per_seed"] == [1.0, 1.0, 1.2]
    assert combined["target"] == {"success_rate": 0.95, "path_ratio": 1.1}
    assert combined["seeds_that_end_at_target"] == 1
    nowhere = combine([result(0, 0.0, None)], aimed(target))
    assert nowhere["path_ratio_iqm"] is None
    assert nowhere["seeds_that_end_at_target"] == 0
