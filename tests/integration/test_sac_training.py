"""SAC with environments: the project's runs, their policies, and what goes on after a resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from synrl_ray import evaluate, load_policy
from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.rl_modules.soft_actor_critic import SACModule
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL = [
    *("spiking.hidden_sizes=16", "spiking.steps_per_observation=2", "critic_sizes=16", "train_batch_size=32"),
    *("num_updates=1", "learning_starts=200", "interval_steps=1000", "interim_episodes=2", "evaluation.episodes=4"),
]


def spec_of(*settings: str, seed: int = 0) -> RunSpec:
    experiment = apply_overrides(get_experiment("pendulum-sac"), [*SMALL, *settings])
    return RunSpec(experiment=experiment, policy="spiking", seed=seed, num_workers=0)


def build(spec: RunSpec) -> Any:
    return algorithm_config(spec.experiment, "spiking", seed=spec.seed, num_workers=0).build_algo()


def module_of(algorithm: Any) -> SACModule:
    return algorithm.learner_group._learner.module["default_policy"].unwrapped()


def test_a_run_leaves_a_policy_that_acts_as_its_module_and_is_judged(tmp_path: Path) -> None:
    spec = spec_of("env_steps=2000")
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    rows = folder.metrics()
    assert all(row["q_loss"] > 0 and row["policy_loss"] is not None and row["lr"] is not None for row in rows)
    policy = load_policy(folder.path)
    module = SACModule(
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        model_config={**spec.experiment.spiking.__dict__, "critic_sizes": (16,), "twin_q": True},
    )
    module.network.load_state_dict(policy.network.state_dict())
    observations = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    actions = module.forward_inference({Columns.OBS: torch.from_numpy(observations)})[Columns.ACTIONS]
    np.testing.assert_allclose(policy.act(observations)[0], 2 * actions.numpy(), rtol=1e-5, atol=1e-6)
    assert evaluate(folder.path).result.figures["return_mean"] == result.figures["return_mean"] < 0


def test_a_restored_run_keeps_its_temperature_and_fills_its_replay_before_it_learns_on(tmp_path: Path) -> None:
    algorithm = build(spec_of())
    algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint")
    saved = {name: value.clone() for name, value in module_of(algorithm).state_dict().items()}
    steps = algorithm._env_steps()
    assert float(saved["log_alpha"]) != 0
    algorithm.stop()

    restored = build(spec_of("learning_starts=1500"))
    restored.restore_from_path(tmp_path / "checkpoint")
    assert (restored._env_steps(), len(restored.replay)) == (steps, 0)
    torch.testing.assert_close(dict(module_of(restored).state_dict()), saved)
    assert restored.learner_group._learner.curr_log_alpha["default_policy"] is module_of(restored).log_alpha
    restored.train()
    torch.testing.assert_close(dict(module_of(restored).state_dict()), saved)  # a thousand steps are not enough
    restored.train()
    assert float(module_of(restored).log_alpha.detach()) != float(saved["log_alpha"])
    restored.stop()
