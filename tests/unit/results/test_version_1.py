"""Results of before there was a version are read into the same form, with nothing made up."""

import json

import pytest

from synrl_ray.results import read_result

RETURNS = {
    "return_mean": 2.0,
    "return_std": 1.0,
    "return_iqm": 2.5,
    "return_ci95": [1.0, 3.0],
    "return_min": 0.0,
    "return_max": 4.0,
}
CONTROL = {
    "experiment": "cartpole-ppo",
    "policy": "ann",
    "seed": 3,
    "env_steps": 64,
    "wall_seconds": 0.5,
    "env_steps_per_second": 128.0,
    "episodes": 2,
    "time_shares": None,
    "env_steps_to_target": None,
    **RETURNS,
    "evaluation_episodes": 3,
    "returns": [0.0, 2.0, 4.0],
    "protocol": {"environment": "CartPole-v1", "first_seed": 50},
    "energy": {"decisions": 9},
    "num_workers": 0,
    "num_learners": 1,
    "versions": {"torch": "2"},
}


def read(folder, data):
    (folder / "result.json").write_text(json.dumps(data))
    return read_result(folder)


def test_a_run_of_control(tmp_path):
    result = read(tmp_path, CONTROL)
    assert (result.experiment, result.policy, result.score) == ("cartpole-ppo", "ann", "return_iqm")
    names = {"return_mean", "return_std", "return_iqm", "return_min", "return_max", "episodes"}
    assert (set(result.figures), result.figures["episodes"]) == (names, 3)
    interval = result.interval("return_iqm")
    assert (interval.low, interval.high, interval.over) == (1.0, 3.0, "episodes")
    (training,) = result.training
    assert (training.seed, training.unit, training.steps, training.episodes) == (3, "env_steps", 64, 2)
    assert (training.steps_to_target, training.num_workers, training.num_learners) == (None, 0, 1)
    assert (result.greedy.seeds, result.greedy.returns) == ((50, 51, 52), (0.0, 2.0, 4.0))
    assert (result.greedy.lengths, result.greedy.distinct, result.sampled, result.target) == (None,) * 4
    assert result.energy == {"decisions": 9}
    assert result.provenance.versions == {"torch": "2"}
    assert (result.provenance.commit, result.provenance.command, result.provenance.configuration) == (None,) * 3


def test_several_seeds_of_control(tmp_path):
    data = {
        "experiment": "x",
        "policy": "ann",
        "seeds": [0, 1],
        "env_steps": [10, 20],
        "wall_seconds": [1.0, 2.0],
        **RETURNS,
        "return_mean_per_seed": [1.0, 3.0],
        "env_steps_to_target": [5, None],
        "protocol": {"environment": "X-v0", "first_seed": 0},
        "target": 2.0,
        "seeds_that_reached_target": 1,
        "seeds_that_end_at_target": 2,
    }
    result = read(tmp_path, data)
    assert result.per_seed == {"return_mean": (1.0, 3.0)}
    assert [(t.seed, t.steps, t.steps_to_target) for t in result.training] == [(0, 10, 5), (1, 20, None)]
    assert result.interval("return_iqm").over == "episodes, stratified by seed"
    assert (result.target.bounds, result.target.in_training, result.target.at_end) == ({"return_mean": 2.0}, 1, 2)
    assert result.greedy is None


def test_several_seeds_of_a_local_agent(tmp_path):
    data = {
        "experiment": "maze-rstdp",
        "policy": "spiking",
        "seeds": [0, 1],
        "env_steps": [10, 20],
        "wall_seconds": [1.0, 2.0],
        **RETURNS,
        "optimum": 1.0,
        "regret_per_seed": [0.0, None],
        "regret_iqm": None,
        "regret_ci95": None,
        "success_rate_per_seed": [1.0, 0.5],
        "success_rate_iqm": 0.75,
        "success_rate_ci95": [0.5, 1.0],
        "env_steps_to_target": [5, 7],
        "env_steps_to_target_iqm": 6.0,
        "env_steps_to_target_ci95": [5.0, 7.0],
        "seconds_to_target": [0.5, 0.7],
        "protocol": {"environment": "X-v0", "first_seed": 0},
        "target": {"success_rate": 0.95},
        "seeds_that_reached_target": 2,
        "seeds_that_end_at_target": 1,
    }
    result = read(tmp_path, data)
    assert (result.score, result.figures["regret_iqm"]) == ("success_rate_iqm", None)
    assert result.interval("success_rate_iqm").over == "seeds"
    assert (result.figures["steps_to_target_iqm"], result.interval("steps_to_target_iqm").high) == (6.0, 7.0)
    assert result.per_seed == {"regret": (0.0, None), "success_rate": (1.0, 0.5)}
    assert [t.seconds_to_target for t in result.training] == [0.5, 0.7]
    assert result.target.bounds == {"success_rate": 0.95}


def test_a_classifier(tmp_path):
    data = {
        "experiment": "mnist-binary",
        "policy": "spiking",
        "seed": 0,
        "samples": 640,
        "epochs": 2,
        "wall_seconds": 8.0,
        "accuracy": 6 / 7,
        "accuracy_ci95": [0.4, 0.9],
        "errors": 1,
        "target_reached": False,
        "confusion": [[2, 1], [0, 4]],
        "protocol": {"data": "MNIST"},
    }
    result = read(tmp_path, data)
    assert result.figures == {"accuracy": 6 / 7, "errors": 1}
    assert result.interval("accuracy").over == "test images"
    assert (result.confusion, result.target.at_end, result.target.bounds) == (((2, 1), (0, 4)), 0, None)
    assert (result.training[0].unit, result.training[0].steps) == ("samples", 640)


@pytest.mark.parametrize("several", [False, True])
def test_a_learner(tmp_path, several):
    trained = {"seeds": [0, 1], "loss_per_seed": [1.0, 3.0]} if several else {"seed": 0}
    data = {
        "experiment": "sinusoid-maml",
        "policy": "ann",
        **trained,
        "meta_iterations": [10, 10] if several else 10,
        "wall_seconds": [1.0, 2.0] if several else 1.0,
        "seconds_per_meta_iteration": 0.1,
        "loss": 2.0,
        "loss_ci95": [1.0, 3.0],
        "loss_by_step": [4.0, 2.0],
        "loss_by_step_error95": [0.5, 0.25],
        "env_steps_by_step": [0.0, 80.0],
        "untrained": {"loss": 9.0, "loss_by_step": [9.5, 9.0], "loss_ci95": [8.0, 10.0]},
        "protocol": {"test_tasks": 600, "inner_steps": 1},
    }
    result = read(tmp_path, data)
    assert result.figures == {"loss": 2.0}
    assert result.interval("loss").over == ("seeds" if several else "test tasks")
    assert result.adaptation.by_step == {"loss": (4.0, 2.0)}
    assert result.adaptation.errors == {"loss": (0.5, 0.25)}
    assert result.adaptation.env_steps == (0.0, 80.0)
    assert result.adaptation.untrained == {"loss": (9.5, 9.0)}
    assert [t.unit for t in result.training] == ["meta_iterations"] * (2 if several else 1)
