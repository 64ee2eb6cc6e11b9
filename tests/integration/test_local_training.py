"""Runs of local learning: files, exact scores, resuming, several env runners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synrl_ray.experiment import AnyExperiment
from synrl_ray.kinds.evaluating import evaluate_folder
from synrl_ray.kinds.local.kind import KIND
from synrl_ray.kinds.local.trainer import LocalTrainer
from synrl_ray.overrides import apply_overrides
from synrl_ray.policies.local.policy import load_local_policy
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL = ["steps_per_iteration=20000", "interval_steps=40000", "evaluation.episodes=5"]


def _spec(*settings: str, num_workers: int = 0) -> RunSpec:
    experiment: AnyExperiment = apply_overrides(get_experiment("taxi-q-learning"), [*SMALL, *settings])
    return RunSpec(experiment=experiment, policy="tabular", seed=0, num_workers=num_workers)


def test_a_run_learns_taxi_and_leaves_every_file(tmp_path: Path) -> None:
    spec = _spec("env_steps=300000")
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    names = {path.name for path in folder.path.iterdir()}
    assert names == {
        *("card.md", "config.json", "metrics.jsonl", "result.json"), "learning_curve.png", "return_curve.png",
        "plasticity.png",
        "policy.json", "policy.safetensors", "policy.seal.json", "checkpoint", "checkpoint.old", "tensorboard",
    }  # fmt: skip
    assert result.figures["regret"] == 0.0
    assert result.figures["value"] == pytest.approx(7.93)
    assert result.training[0].steps == 300_000
    assert result.training[0].steps_to_target <= 280_000
    rows = folder.metrics()
    assert rows[-1]["plasticity_epsilon"] == pytest.approx(0.1)
    assert evaluate_folder(folder.path, episodes=2).figures["regret"] == 0.0
    assert load_local_policy(folder.path).agent.greedy(np.arange(500)).shape == (500,)


def test_training_may_end_at_a_regret(tmp_path: Path) -> None:
    spec = _spec("env=CliffWalking-v1", "stopping.regret=0", "env_steps=1000000")
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    assert result.figures["regret"] == 0.0
    assert result.training[0].steps < 500_000


def test_resumed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    first = LocalTrainer(_spec())
    for _ in range(2):
        before = first.train_once()
    first.save(tmp_path / "checkpoint")
    table = first.policy().agent.q.clone()
    first.close()

    second = LocalTrainer(_spec())
    second.restore(tmp_path / "checkpoint")
    np.testing.assert_array_equal(second.policy().agent.q.numpy(), table.numpy())
    after = second.train_once()
    second.close()
    assert (before.steps, after.steps) == (40_000, 60_000)
    assert after.row["plasticity_epsilon"] == pytest.approx(1 - 0.9 * 60_000 / 100_000)


def test_two_runners_learn_one_table(tmp_path: Path) -> None:
    spec = _spec("env_steps=600000", num_workers=2)
    trainer = LocalTrainer(spec)
    for _ in range(30):
        measured = trainer.train_once()
    assert measured.steps == 600_000
    group = trainer.algorithm.env_runner_group
    tables = group.foreach_env_runner(lambda runner: runner.module.agent.q.numpy().copy(), local_env_runner=False)
    table = trainer.algorithm.learner_group._learner.module["default_policy"].unwrapped().agent.q.numpy()
    assert len(tables) == 2
    for other in tables:
        np.testing.assert_array_equal(other, table)
    assert trainer.evaluate()["evaluation_regret"] == 0.0
    trainer.close()


def _maze(*settings: str, num_workers: int = 0) -> RunSpec:
    small = ["interval_steps=8000", "evaluation.episodes=5", "noise_steps=15000"]
    kwargs = '{"size": 4, "maze_seed": 0, "sigma": 0.5, "step_cost": 0.0, "bump_cost": 0.0}'
    assignments = [*small, f"environment.kwargs={kwargs}", "env_steps=24000", *settings]
    experiment: AnyExperiment = apply_overrides(get_experiment("maze-rstdp"), assignments)
    return RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=num_workers)


def test_a_small_maze_is_learned_and_learned_again_from_there(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", _maze())
    result = train_run(folder, _maze(), KIND)
    assert (result.figures["success_rate"], result.figures["path_ratio"]) == (1.0, 1.0)
    rows = folder.metrics()
    assert {"evaluation_success_rate", "plasticity_eligibility_norm", "plasticity_weight_std"} <= set(rows[-1])
    again = evaluate_folder(folder.path, episodes=2).figures
    assert (again["success_rate"], again["regret"]) == (1.0, 0.0)

    trainer = LocalTrainer(_maze(f"initial_policy={folder.path}"))
    learned = load_local_policy(folder.path).agent
    np.testing.assert_array_equal(trainer.policy().agent.action_weights.numpy(), learned.action_weights.numpy())
    assert trainer.evaluate()["evaluation_success_rate"] == 1.0
    names = {"action weights", "critic weights"} | {
        f"spikes of {name} over all states" for name in ("place cells", "action neurons")
    }
    assert set(trainer.distributions()) == names
    trainer.close()


def test_a_maze_is_learned_by_two_runners(tmp_path: Path) -> None:
    trainer = LocalTrainer(_maze(num_workers=2))
    while trainer.train_once().steps < 24_000:
        pass
    assert trainer.evaluate()["evaluation_success_rate"] == 1.0
    trainer.close()


def _order(*settings: str) -> RunSpec:
    small = ["interval_steps=1024", "evaluation.episodes=20", "env_steps=2048", "noise_steps=1000"]
    experiment: AnyExperiment = apply_overrides(get_experiment("temporal-order"), [*small, *settings])
    return RunSpec(experiment=experiment, policy="spiking", seed=0, num_workers=0)


def test_the_order_of_two_cues_is_learned(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", _order())
    result = train_run(folder, _order(), KIND)
    assert result.figures["return_mean"] >= 0.95
    assert result.figures["regret"] is None
    assert result.target is not None
    assert (result.target.bounds, result.target.at_end) == ({"mean_return": 0.95}, 1)
    assert result.training[0].steps_to_target is not None
    assert evaluate_folder(folder.path, episodes=5).figures["return_mean"] >= 0.95


def test_resumed_training_of_it_goes_on_as_any_other_that_resumes_there(tmp_path: Path) -> None:
    first = LocalTrainer(_order())
    first.train_once()
    first.save(tmp_path / "checkpoint")
    weights = first.policy().agent.action_weights.clone().numpy()
    first.close()
    ends = []
    for _ in range(2):
        resumed = LocalTrainer(_order())
        resumed.restore(tmp_path / "checkpoint")
        np.testing.assert_array_equal(resumed.policy().agent.action_weights.numpy(), weights)
        resumed.train_once()
        ends.append(resumed.policy().agent.action_weights.clone().numpy())
        resumed.close()
    np.testing.assert_array_equal(*ends)
    assert not np.array_equal(ends[0], weights)
