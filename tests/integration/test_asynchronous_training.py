"""Env runners that sample while a learner learns: what arrives where, what is lost when something dies or is slow."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from synrl_ray.api.specs import make_specs
from synrl_ray.errors import UserError
from synrl_ray.kinds.control.trainer import ControlTrainer
from synrl_ray.running.spec import RunSpec

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

SETTINGS = [
    "algorithm=impala",
    "spiking.hidden_sizes=16,16",
    "env_steps=1000000",
    "num_steps=64",
    "optimizer=adam",
    "lr_decay=false",
]


def spec_of(*settings: str, num_workers: int = 2, num_learners: int = 0) -> RunSpec:
    scale = {"num_workers": num_workers, "num_learners": num_learners}
    (spec,) = make_specs(None, "spiking", env="CartPole-v1", settings=[*SETTINGS, *settings], seed=0, **scale)
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


def of_learners(trainer: ControlTrainer, function: Any) -> list[Any]:
    return [result.get() for result in trainer.algorithm.learner_group.foreach_learner(function)]


def weights_of(learner: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.module["default_policy"].unwrapped().state_dict().items()}


def pids(trainer: ControlTrainer) -> list[int]:
    return list(trainer.algorithm.env_runner_group.foreach_env_runner(lambda _: os.getpid(), local_env_runner=False))


def train_until(trainer: ControlTrainer, is_enough: Any, most: int = 400) -> list[Any]:
    """What the iterations gave; they go on until one is enough."""
    measured = []
    for _ in range(most):
        measured.append(trainer.train_once())
        if is_enough(measured[-1]):
            return measured
    raise AssertionError(f"not seen in {most} iterations")


def test_runners_learner_and_driver_keep_up_with_one_another(start: Started) -> None:
    trainer = start()
    assert trainer.spec.num_learners == 1, "the learner has a process of its own"
    rows = [trainer.train_once() for _ in range(4)]
    while rows[-1].row["return_mean"] is None:  # runners tell of returns now and then
        rows.append(trainer.train_once())
    assert [row.steps for row in rows] == sorted(row.steps for row in rows)
    assert rows[-1].steps >= 8000
    columns = rows[-1].row
    assert 0 < columns["learner_busy"] <= 1.1
    assert 0 <= columns["lag_mean"] <= columns["lag_max"] <= 4
    assert columns["num_fragments_left_out"] == 0
    told = {
        name for row in rows for name, value in row.row.items() if value is not None
    }  # by the learner, now and then
    assert len([name for name in told if name.startswith("firing_rate_")]) == 2
    assert "policy_loss" in told
    assert columns["return_mean"] > 9
    trainer.algorithm.env_runner_group.foreach_env_runner(lambda _: None)  # what was asked for has come
    (version,) = of_learners(trainer, lambda learner: learner.version)
    trained_steps = version * 64 * 8
    assert 0 <= rows[-1].steps - 0.9 * trained_steps <= rows[-1].steps
    trainer.algorithm._take(trainer.algorithm._fetched())
    (newest,) = of_learners(trainer, weights_of)
    for name, value in trainer.algorithm.get_module().state_dict().items():
        assert torch.equal(value, newest[name]), name


def test_between_iterations_no_runner_is_waited_for(start: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = start()
    trainer.train_once()
    asked: list[Any] = []
    monkeypatch.setattr(EnvRunnerGroup, "foreach_env_runner", lambda _, *call, **options: asked.append(call) or [])
    for _ in range(2):
        trainer.train_once()
    assert asked == [], "one that cannot be reached would hold up the others, for RLlib's ten seconds each time"


def test_a_checkpoint_goes_on_with_weights_steps_and_scale(start: Started, tmp_path: Path) -> None:
    first = start()
    assert first.experiment.environment.normalise_rewards
    before = [first.train_once() for _ in range(2)][-1]
    first.save(tmp_path / "checkpoint")
    (weights,), (scale,) = (of_learners(first, ask) for ask in (weights_of, lambda one: one.return_scale.get_state()))
    first.close()
    start.trainers.clear()
    again = start()
    again.restore(tmp_path / "checkpoint")
    (restored,), (its_scale,) = (
        of_learners(again, ask) for ask in (weights_of, lambda one: one.return_scale.get_state())
    )
    assert restored.keys() == weights.keys()
    assert all(torch.equal(restored[name], weights[name]) for name in weights)
    assert its_scale == scale
    assert scale["count"] > 0
    for held in again.algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.module.state_dict()):
        assert all(torch.equal(held[name], weights[name]) for name in weights)
    after = again.train_once()
    assert before.steps < after.steps < before.steps + 4000
    assert after.row["lag_max"] <= 4


def test_learning_goes_on_when_a_runner_dies_and_it_comes_back(start: Started) -> None:
    trainer = start()
    trainer.train_once()
    os.kill(pids(trainer)[1], signal.SIGKILL)
    told = train_until(trainer, lambda measured: any("died" in notice for notice in measured.notices))
    trainer.algorithm.faults._next_probe = 0.0
    more = train_until(trainer, lambda measured: any("was restarted" in notice for notice in measured.notices), 4000)
    assert told[-1].notices[0] == "1 of 2 env runners died: going on with the others until restarted"
    assert more[-1].row["runner_restarts"] == 1
    last = train_until(trainer, lambda measured: measured.row["lag_max"] is not None)[-1]
    assert last.row["lag_max"] <= 16
    assert len(set(pids(trainer))) == 2


def test_the_death_of_all_runners_ends_the_run(start: Started) -> None:
    trainer = start(num_workers=1)
    trainer.train_once()
    os.kill(pids(trainer)[0], signal.SIGKILL)
    with pytest.raises(UserError, match=r"a worker process died.*--resume"):
        train_until(trainer, lambda _: False)


def test_the_death_of_the_learner_ends_the_run(start: Started) -> None:
    trainer = start()
    trainer.train_once()
    (victim,) = of_learners(trainer, lambda _: os.getpid())
    os.kill(victim, signal.SIGKILL)
    time.sleep(3.0)  # by then its weights are gone too, of which the policy is made at the end
    with pytest.raises(UserError, match=r"a worker process died.*--resume"):
        train_until(trainer, lambda _: False)


def test_a_runner_that_is_too_slow_is_told_of_and_not_learned_from(start: Started) -> None:
    trainer = start("max_lag=5", num_workers=3)

    def dawdle(runner: Any) -> None:
        if runner.worker_index == 2:
            original = runner.sample
            runner.sample = lambda: time.sleep(4.0) or original()

    trainer.algorithm.env_runner_group.foreach_env_runner(dawdle, local_env_runner=False)
    told = train_until(trainer, lambda measured: any("too slow" in notice for notice in measured.notices))
    (notice,) = [notice for notice in told[-1].notices if "too slow" in notice]
    assert notice.startswith("env runner 2 is too slow: more than 5 updates lay between")
    assert told[-1].row["num_fragments_left_out"] >= 1


def test_several_learners_stay_equal(start: Started) -> None:
    trainer = start("normalise_rewards=false", num_learners=2)
    for _ in range(3):
        trainer.train_once()
    first, second = of_learners(trainer, weights_of)
    versions = of_learners(trainer, lambda learner: learner.version)
    assert versions[0] == versions[1] > 0
    for name, value in first.items():
        if "normaliser" not in name:  # measured by the first, and taken over before the next step
            assert torch.equal(value, second[name]), name


def test_in_one_process_sampling_and_learning_take_turns(start: Started) -> None:
    trainer = start(num_workers=0)
    assert trainer.spec.num_learners == 0
    rows = [trainer.train_once() for _ in range(2)]
    assert rows[-1].steps > rows[0].steps > 0
    assert "lag_max" not in rows[-1].row
    (learner,) = of_learners(trainer, lambda learner: learner.version)
    assert learner == trainer.algorithm._version > 0
    (weights,) = of_learners(trainer, weights_of)
    for name, value in trainer.algorithm.get_module().state_dict().items():
        assert torch.equal(value, weights[name]), name
