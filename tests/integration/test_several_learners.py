"""Learners in processes of their own: the same step as in one, and what happens when one of them dies."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest
import torch

from synrl_ray.algorithms.build import algorithm_config
from synrl_ray.errors import UserError
from synrl_ray.experiment import Experiment
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def algorithm(num_learners: int, *settings: str) -> Any:
    experiment = apply_overrides(
        get_experiment("cartpole-ppo"), ["spiking.hidden_sizes=16", "lr_decay=false", *settings]
    )
    assert isinstance(experiment, Experiment)
    experiment = replace(experiment, environment=replace(experiment.environment, num_envs=8))
    return algorithm_config(experiment, "spiking", seed=0, num_workers=0, num_learners=num_learners).build_algo()


def weights_after(num_learners: int, iterations: int, *settings: str) -> dict[str, torch.Tensor]:
    """Of the env runner, after so many iterations."""
    trained = algorithm(num_learners, *settings)
    try:
        for _ in range(iterations):
            trained.train()
        return {name: value.clone() for name, value in trained.get_module().state_dict().items()}
    finally:
        trained.stop()


@pytest.mark.parametrize("carried", ["false", "true"])
def test_two_learners_take_the_step_of_one(carried: str) -> None:
    whole = ["train_batch_size=512", "minibatch_size=512", "num_epochs=1", f"spiking.carry_state={carried}"]
    alone, together = (weights_after(number, 3, *whole) for number in (0, 2))
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-6)


def test_minibatches_are_shared_and_learners_stay_equal() -> None:
    trained = algorithm(2, "train_batch_size=512", "minibatch_size=128", "num_epochs=2")
    try:
        for _ in range(2):
            trained.train()
        first, second = trained.learner_group.foreach_learner(
            lambda learner: {
                n: p.detach().clone() for n, p in learner.module["default_policy"].unwrapped().named_parameters()
            }
        )
        for name, value in first.get().items():
            assert torch.equal(value, second.get()[name]), name
    finally:
        trained.stop()


def test_a_learner_that_dies_ends_the_run_with_its_cause() -> None:
    trained = algorithm(2, "train_batch_size=512", "minibatch_size=128")
    try:
        trained.train()
        victim = next(iter(trained.learner_group.foreach_learner(lambda learner: os.getpid()))).get()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(UserError, match="a worker process died"):
            trained.train()
    finally:
        trained.stop()
