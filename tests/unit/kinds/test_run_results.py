from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from synrl_ray.evaluation.statistics import summarise
from synrl_ray.experiment import Evaluation, Target
from synrl_ray.kinds.control import result as result_module
from synrl_ray.kinds.control.result import finish, steps_to_target
from synrl_ray.kinds.episodes import combine_seeds, describe, draw_curves, time_shares
from synrl_ray.kinds.result import versions
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec

EXPERIMENT = replace(get_experiment("cartpole-ppo"), evaluation=Evaluation(episodes=3, first_seed=50))
SPEC = RunSpec(experiment=EXPERIMENT, policy="ann", seed=3, num_workers=0)


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Hand-written policies have no network whose operations could be counted."""
    monkeypatch.setattr(
        result_module, "decision_energy", lambda policy, observations, states: {"decisions": len(states)}
    )


class PushRight:
    """Always pushes the cart to the right: the pole falls within some ten steps."""

    def initial_state(self, batch):
        return np.zeros((batch, 0), np.float32)

    def act(self, observations, state, *, deterministic=True):
        return np.ones(len(observations), np.int64), state


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", SPEC)


def seed_result(seed, returns, steps_to_target=None):
    return {
        "experiment": "x",
        "policy": "ann",
        "seed": seed,
        "env_steps": 1000 + seed,
        "wall_seconds": 2.0 + seed,
        "env_steps_to_target": steps_to_target,
        "return_mean": float(np.mean(returns)),
        "returns": returns,
        "protocol": {"environment": "X-v0"},
        "versions": {"python": "3"},
    }


RESULTS = [
    seed_result(0, [1.0, 2.0, 3.0, 10.0], 500),
    seed_result(1, [0.0, 4.0, 4.0, 8.0]),
    seed_result(2, [2.0, 2.0], 700),
]


def test_several_seeds_are_summarised_over_all_episodes():
    combined = combine_seeds(RESULTS, target=None)
    # 0 1 2 2 2 3 4 4 8 10: mean 3.6; without the two lowest and highest quarters (2 each) 2 2 2 3 4 4: mean 17/6
    assert combined["return_mean"] == pytest.approx(3.6)
    assert combined["return_iqm"] == pytest.approx(17 / 6)
    assert combined["return_std"] == pytest.approx(np.sqrt(218 / 10 - 3.6**2))  # the squares add up to 218
    assert (combined["return_min"], combined["return_max"]) == (0.0, 10.0)
    assert combined["evaluation_episodes"] == 10
    low, high = combined["return_ci95"]
    assert 0 <= low < 17 / 6 < high <= 10


def test_several_seeds_keep_what_belongs_to_each():
    combined = combine_seeds(RESULTS, target=None)
    assert combined["seeds"] == [0, 1, 2]
    assert combined["env_steps"] == [1000, 1001, 1002]
    assert combined["wall_seconds"] == [2.0, 3.0, 4.0]
    assert combined["return_mean_per_seed"] == [4.0, 4.0, 2.0]
    assert combined["env_steps_to_target"] == [500, None, 700]
    assert (combined["experiment"], combined["policy"]) == ("x", "ann")
    assert combined["protocol"] == {"environment": "X-v0"}
    assert not {"target", "seeds_that_reached_target"} & set(combined)


def test_cut_episodes_of_several_seeds_are_added_up():
    protocol = {"environment": "X-v0", "cut_after": 27_000}
    results = [
        {**result, "protocol": {**protocol, "episodes_cut": number}}
        for result, number in zip(RESULTS, (2, 0, 1), strict=True)
    ]
    assert combine_seeds(results, target=None)["protocol"] == {**protocol, "episodes_cut": 3}


def test_several_seeds_count_those_that_reached_the_target_and_those_that_end_there():
    combined = combine_seeds(RESULTS, target=4.0)
    assert combined["target"] == 4.0
    assert combined["seeds_that_reached_target"] == 2  # seeds 0 and 2, during training
    assert combined["seeds_that_end_at_target"] == 2  # seeds 0 and 1, whose mean is 4


def test_description_has_the_names_of_the_result_file():
    assert describe(summarise([1.0, 2.0, 3.0])) == {
        "return_mean": 2.0,
        "return_std": pytest.approx(np.sqrt(2 / 3)),
        "return_iqm": 2.0,
        "return_ci95": [pytest.approx(1.0, abs=0.5), pytest.approx(3.0, abs=0.5)],
        "return_min": 1.0,
        "return_max": 3.0,
        "evaluation_episodes": 3,
    }


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
    experiment = replace(EXPERIMENT, target=Target(mean_return=target, source="a test"))
    assert steps_to_target(folder, experiment) == expected


def test_without_a_target_there_are_no_steps_to_it(folder):
    folder.append_metrics({"iteration": 1, "env_steps": 5, "evaluation_return_mean": 500.0})
    assert steps_to_target(folder, replace(EXPERIMENT, target=None)) is None


def test_versions_are_those_of_the_installed_packages():
    found = versions()
    assert found["torch"] == version("torch")
    assert set(found) == {"python", "synrl-ray", "ray", "torch", "snntorch", "gymnasium", "numpy"}


def test_finished_run_has_result_and_learning_curve(folder):
    folder.append_metrics({"iteration": 1, "env_steps": 64, "return_mean": 9.0})
    position = Position(iteration=1, steps=64, episodes=2, wall_seconds=0.5)
    result = finish(folder, SPEC, PushRight(), position)
    assert folder.result() == result
    assert (result["experiment"], result["policy"], result["seed"]) == ("cartpole-ppo", "ann", 3)
    assert (result["env_steps"], result["wall_seconds"], result["env_steps_per_second"]) == (64, 0.5, 128.0)
    assert len(result["returns"]) == result["evaluation_episodes"] == 3
    assert result["return_mean"] == pytest.approx(np.mean(result["returns"]))
    assert all(8 <= score <= 11 for score in result["returns"])
    assert result["protocol"]["first_seed"] == 50
    assert result["env_steps_to_target"] is None
    assert (folder.path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_run_in_which_no_episode_has_ended_still_gets_its_result(folder):
    folder.append_metrics({"iteration": 1, "env_steps": 4, "return_mean": None})
    finish(folder, SPEC, PushRight(), Position(iteration=1, steps=4, episodes=0, wall_seconds=0.5))
    assert folder.result()["episodes"] == 0


def test_curves_of_several_seeds_are_drawn(tmp_path):
    folders = []
    for seed in (0, 1):
        run = RunFolder.create(tmp_path / f"{seed}", replace(SPEC, seed=seed))
        for i in (1, 2, 3):
            row = {"iteration": i, "env_steps": 100 * i, "return_mean": 10.0 * i + seed}
            bounds = {"evaluation_return_mean": 9.0, "evaluation_return_low": 8.0, "evaluation_return_high": 10.0}
            run.append_metrics(row | bounds if i == 2 else row)
        folders.append(run)
    draw_curves(folders, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_time_shares_are_of_all_seconds_that_the_rows_tell():
    rows = [
        {"seconds_environment": 1.0, "seconds_policy": 2.0, "seconds_learner": None},
        {"seconds_environment": 1.0, "seconds_policy": 2.0, "seconds_learner": 2.0},
    ]
    assert time_shares(rows) == {"environment": 0.25, "policy": 0.5, "learner": 0.25}
    assert time_shares([{"iteration": 1}]) is None
    assert time_shares([]) is None
