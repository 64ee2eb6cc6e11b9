"""PQN with environments: runs, checkpoints, several env runners and learners, policies of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synrl_ray import load_policy
from synrl_ray.api.specs import make_specs
from synrl_ray.kinds.control.kind import KIND
from synrl_ray.kinds.control.trainer import ControlTrainer
from synrl_ray.policies.policy import Policy
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SMALL = [
    "algorithm=pqn",
    "spiking.hidden_sizes=16,16",
    "num_envs=8",
    "num_steps=32",
    "num_epochs=2",
    "epsilon_steps=6000",
    "lr_decay=false",
]
CARRIED = ["spiking.carry_state=true", "spiking.steps_per_observation=1"]


def spec_of(*settings: str, policy: Any = "spiking", **scale: int) -> RunSpec:
    (spec,) = make_specs(None, policy, env="CartPole-v1", settings=[*SMALL, *settings], seed=0, **scale)
    return spec


class Started:
    """Trainers that are closed at the end."""

    def __init__(self) -> None:
        self.trainers: list[ControlTrainer] = []

    def __call__(self, *settings: str, **scale: int) -> ControlTrainer:
        self.trainers.append(ControlTrainer(spec_of(*settings, **scale)))
        return self.trainers[-1]


@pytest.fixture
def start() -> Iterator[Started]:
    started = Started()
    yield started
    for trainer in started.trainers:
        trainer.close()


def weights(trainer: ControlTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.algorithm.get_module().state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def epsilons(trainer: ControlTrainer, *, local: bool = True) -> list[float]:
    group = trainer.algorithm.env_runner_group
    found: list[float] = group.foreach_env_runner(
        lambda runner: runner.module.network.distribution.epsilon, local_env_runner=local
    )
    return found


def test_two_that_go_on_from_a_checkpoint_are_the_same(start: Started, tmp_path: Path) -> None:
    first = start(*CARRIED)
    before = [first.train_once() for _ in range(2)][-1]
    assert np.isfinite(before.row["q_loss"])
    assert np.isfinite(before.row["q_mean"])
    first.save(tmp_path / "checkpoint")
    saved = weights(first)
    after = []
    for _ in range(2):
        trainer = start(*CARRIED)
        trainer.restore(tmp_path / "checkpoint")
        assert_same(weights(trainer), saved)
        torch.manual_seed(0)  # of the order of minibatches
        measured = trainer.train_once()
        after.append((measured.steps, measured.row["q_loss"], weights(trainer)))
        (epsilon,) = epsilons(trainer)
        schedule = trainer.experiment.algorithm
        assert schedule.epsilon_at(measured.steps) <= epsilon < schedule.epsilon_at(before.steps)
    assert after[0][:2] == after[1][:2]
    assert_same(after[0][2], after[1][2])
    assert any(not torch.equal(after[0][2][name], value) for name, value in saved.items())


def test_env_runners_elsewhere_explore_by_the_steps_of_all(start: Started) -> None:
    trainer = start(*CARRIED, num_workers=2)
    measured = trainer.train_once()
    found = epsilons(trainer, local=False)
    assert len(found) == 2
    expected = trainer.experiment.algorithm.epsilon_at(measured.steps)
    assert found == pytest.approx([expected] * 2, abs=0.1)
    assert max(found) < 0.9
    for held in trainer.algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.module.state_dict()):
        assert_same(held, weights(trainer))


@pytest.mark.parametrize("settings", [[], CARRIED], ids=["from-rest", "carried"])
def test_two_learners_take_the_step_of_one(start: Started, settings: list[str]) -> None:
    whole = ["minibatch_size=256", "num_epochs=1", "optimizer=adam", "spiking.normalise_observations=false", *settings]
    alone, together = (start(*whole, num_learners=number) for number in (0, 2))
    for trainer in (alone, together):
        trainer.algorithm.training_step()
    found = weights(together)
    for name, value in weights(alone).items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_a_run_leaves_a_policy_that_acts_greedily_and_its_energy(tmp_path: Path, policy: Any) -> None:
    quick = ["env_steps=4000", "interval_steps=2000", "interim_episodes=2", "evaluation.episodes=5"]
    spec = spec_of(*quick, policy=policy)
    folder = RunFolder.create(tmp_path / "run", spec)
    result = train_run(folder, spec, KIND)
    assert len(result.greedy.returns) == 5
    assert result.sampled is None, "what is drawn means nothing for action values"
    saved = load_policy(folder.path)
    assert isinstance(saved, Policy)
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    actions, _ = saved.act(observations, saved.initial_state(20))
    with torch.no_grad():
        values = saved.network(torch.from_numpy(observations)[None])[0][0]
    np.testing.assert_array_equal(actions, values.argmax(-1).numpy())
    rows = folder.metrics()
    assert all(row["policy_loss"] is None and row["entropy"] is None for row in rows)
    assert rows[-1]["q_loss"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("policy", ["spiking", "ann"])
def test_cartpole_reaches_the_target(tmp_path: Path, policy: Any) -> None:
    (spec,) = make_specs(None, policy, env="CartPole-v1", settings=["algorithm=pqn"], seed=0)
    result = train_run(RunFolder.create(tmp_path / "run", spec), spec, KIND)
    assert result.figures["return_mean"] >= 475
