"""DQN with environments: RLlib's stock algorithm on the project's module, and the project's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.dqn import DQNConfig as StockDQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray import load_policy
from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.rl_modules import QModule, SpikingPolicy
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL = [
    "spiking.hidden_sizes=16",
    "num_updates=8",
    "learning_starts=500",
    "interval_steps=1000",
    "interim_episodes=2",
    "evaluation.episodes=5",
]


def spec_of(*settings: str, num_workers: int = 0, seed: int = 0) -> RunSpec:
    experiment = apply_overrides(get_experiment("cartpole-dqn"), [*SMALL, *settings])
    return RunSpec(experiment=experiment, policy="spiking", seed=seed, num_workers=num_workers)


def build(spec: RunSpec) -> Any:
    return algorithm_config(spec.experiment, "spiking", seed=spec.seed, num_workers=spec.num_workers).build_algo()


def test_rllibs_own_dqn_trains_the_module() -> None:
    config = (
        StockDQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(num_steps_sampled_before_learning_starts=32, train_batch_size_per_learner=8)
        .reporting(min_sample_timesteps_per_iteration=64)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=QModule, model_config=SpikingPolicy(hidden_sizes=(8,))))
    )
    algorithm = config.build_algo()
    result = algorithm.train()
    assert np.isfinite(result["learners"]["default_policy"]["qf_loss"])
    algorithm.stop()


@pytest.mark.parametrize("num_workers", [0, 1], ids=["local", "remote-runner"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [("exit", r"step\(\) raised SystemExit: 0 \("), ("column", r"step\(\) returned an observation of shape \(4, 1\)")],
)
def test_an_environment_that_fails_stops_the_run_with_one_line(
    tmp_path: Path, fault: str, says: str, num_workers: int
) -> None:
    kwargs = f'environment.kwargs={{"fault": "{fault}", "after": 100}}'
    spec = spec_of("env=careless_env:CarelessCartPole-v0", kwargs, "num_envs=1", num_workers=num_workers)
    with pytest.raises(UserError, match=rf"^environment 'careless_env:CarelessCartPole-v0' failed: {says}"):
        train_run(RunFolder.create(tmp_path / "run", spec), spec, KIND)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_steps_are_counted_once_and_weights_reach_every_runner(num_workers: int) -> None:
    algorithm = build(spec_of(num_workers=num_workers))
    for _ in range(2):
        result = algorithm.train()
    steps = result["num_env_steps_sampled_lifetime"]
    assert steps == algorithm.replay._written
    assert 2000 <= steps < 3000
    learned = algorithm.learner_group._learner.module["default_policy"].unwrapped().network.state_dict()

    def is_new(runner: Any) -> bool:
        return all(torch.equal(value, learned[name]) for name, value in runner.module.network.state_dict().items())

    assert all(algorithm.env_runner_group.foreach_env_runner(is_new))
    algorithm.stop()


def test_run_leaves_a_policy_that_acts_as_the_argmax_of_the_values(tmp_path: Path) -> None:
    spec = spec_of("env_steps=2000", "dueling=true", "prioritised=true", "n_step=3", "tau=0.01")
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    assert 2000 <= result.training[0].steps < 3100
    rows = folder.metrics()
    assert all(row["q_loss"] > 0 and row["lr"] is not None for row in rows)
    policy = load_policy(folder.path)
    module = QModule(
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        model_config={**spec.experiment.spiking.__dict__, "double_q": True, "dueling": True},
    )
    module.network.load_state_dict(policy.network.state_dict())
    observations = np.random.default_rng(0).uniform(-1, 1, (50, 4)).astype(np.float32)
    values = module.compute_q_values({Columns.OBS: torch.from_numpy(observations)})[QF_PREDS]
    assert np.array_equal(policy.act(observations)[0], values.argmax(-1).numpy())
    checkpoint = folder.checkpoint().state  # type: ignore[union-attr]
    assert sum(file.stat().st_size for file in checkpoint.rglob("*")) < 1_000_000


def test_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def rows(seed: int) -> list[Any]:
        algorithm = build(spec_of(seed=seed))
        result = [algorithm.train() for _ in range(2)][-1]
        algorithm.stop()
        return [result["env_runners"]["episode_return_mean"], result["learners"]["default_policy"]["qf_loss"]]

    assert rows(7) == rows(7) != rows(8)


def test_restored_run_fills_its_replay_before_it_learns_on(tmp_path: Path) -> None:
    algorithm = build(spec_of())
    for _ in range(2):
        algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint")
    learner = algorithm.learner_group._learner.module["default_policy"].unwrapped()
    saved = {name: value.clone() for name, value in learner.state_dict().items()}
    steps = algorithm._env_steps()
    algorithm.stop()

    restored = build(spec_of("learning_starts=1500"))
    restored.restore_from_path(tmp_path / "checkpoint")
    assert restored._env_steps() == steps
    assert len(restored.replay) == 0
    module = restored.learner_group._learner.module["default_policy"].unwrapped()

    def is_as_saved() -> bool:
        return all(torch.equal(value, saved[name]) for name, value in module.state_dict().items())

    assert is_as_saved()
    assert any(name.startswith("_target_network") for name in saved)
    result = restored.train()
    assert is_as_saved(), "nothing is learned from the first thousand steps"
    assert result["num_env_steps_sampled_lifetime"] == steps + len(restored.replay)
    restored.train()
    assert not is_as_saved()
    restored.stop()


@pytest.mark.parametrize("num_workers", [0, 1], ids=["local", "remote-runner"])
def test_nan_observation_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path, num_workers: int) -> None:
    spec = spec_of("env=nan_env:NaNCartPole-v0", 'environment.kwargs={"nan_after": 300}', num_workers=num_workers)
    folder = RunFolder.create(tmp_path / "run", spec)
    with pytest.raises(NonFiniteError, match="observation"):
        train_run(folder, spec, KIND)
    checkpoint = folder.checkpoint()
    assert checkpoint is not None
    assert 1000 <= checkpoint.position.steps < 8 * 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_cartpole_reaches_the_target(tmp_path: Path, policy: Any) -> None:
    spec = RunSpec(experiment=get_experiment("cartpole-dqn"), policy=policy, seed=0, num_workers=0)
    result = train_run(RunFolder.create(tmp_path / "run", spec), spec, KIND)
    assert result.figures["return_mean"] >= 475
