"""Plastic weights beside gradients: learned in the env runners, merged, committed exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig as StockPPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.algorithms.ppo.config import PPOConfig
from synrl_ray.callbacks import PlasticityCallback
from synrl_ray.errors import UserError
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.rl_modules import plastic
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.plasticity import (
    PairSTDP,
    PlasticLayers,
    RewardModulatedSTDP,
    RewardPrediction,
    ThresholdAdaptation,
    WeightBounds,
)
from synrl_ray.settings.policies import SpikingPolicy

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

HEAD, BODY = "network.bodies.0.readout.linear.weight", "network.bodies.0.linears.0.weight"
NAMES = {-1: HEAD, 0: BODY}
RULE = RewardModulatedSTDP(stdp=PairSTDP(a_plus=0.01, a_minus=0.002), tau_e=20.0, lr=0.01)
TRAINED = "network.bodies.1.linears.0.weight"


def ppo(config: Any, layer: int, *, workers: int, bounds: WeightBounds | None = None, **options: Any) -> Any:
    plastic = PlasticLayers(
        layers=(layer,),
        rule=RULE,
        prediction=RewardPrediction(rate=0.0),  # CartPole's reward is always 1: against its mean nothing would be left
        bounds=bounds or WeightBounds(w_min=-2.0, w_max=2.0),
        **options,
    )
    settings = asdict(SpikingPolicy(hidden_sizes=(8,), steps_per_observation=4, plastic=plastic))
    return (
        config.environment("CartPole-v1")
        .env_runners(num_env_runners=workers, num_envs_per_env_runner=2)
        .learners(num_learners=0)
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2, lr=1e-2, grad_clip=0.5)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=PlasticActorCritic, model_config=settings))
        .callbacks(PlasticityCallback)
        .debugging(seed=0, log_level="ERROR")
    )


def stock() -> Any:
    return StockPPOConfig().training(use_kl_loss=False)


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The merged change of every commit."""
    commits: list[dict[str, torch.Tensor]] = []
    original = plastic.merge_deltas
    monkeypatch.setattr(plastic, "merge_deltas", lambda *args: commits.append(original(*args)) or commits[-1])
    return commits


@pytest.fixture
def build() -> Iterator[Any]:
    running: list[Any] = []

    def make(config: Any) -> Any:
        running.append(config.build_algo())
        return running[-1]

    yield make
    for algorithm in running:
        algorithm.stop()


def of_learner(algorithm: Any) -> dict[str, torch.Tensor]:
    state = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].state_dict()
    return {name: value.clone() for name, value in state.items()}


def of_runners(algorithm: Any) -> list[dict[str, torch.Tensor]]:
    return algorithm.env_runner_group.foreach_env_runner(
        lambda runner: {name: value.clone() for name, value in runner.module.state_dict().items()}
    )


@pytest.mark.parametrize("make", [PPOConfig, stock])
@pytest.mark.parametrize("layer", [-1, 0])
def test_after_an_iteration_all_hold_the_old_weights_plus_the_merged_change(make, layer, merged, build):
    algorithm, weight = build(ppo(make(), layer, workers=2)), NAMES[layer]
    for iteration in range(2):
        before = of_learner(algorithm)
        algorithm.train()
        after = of_learner(algorithm)
        assert len(merged) == iteration + 1, "committed once"
        assert merged[-1][weight].abs().sum() > 0
        assert torch.equal(after[weight], before[weight] + merged[-1][weight]), "neither Adam nor clipping has a part"
        assert not torch.equal(after[TRAINED], before[TRAINED]), "gradients train the rest"
        for runner in of_runners(algorithm):
            assert torch.equal(runner[weight], after[weight])
            assert torch.equal(runner[TRAINED], after[TRAINED])


def test_merged_changes_do_not_leave_the_bounds(merged, build):
    bounds = WeightBounds(w_min=-0.05, w_max=0.05)
    algorithm = build(ppo(PPOConfig(), -1, workers=0, bounds=bounds))
    for _ in range(3):
        algorithm.train()
    weight = of_learner(algorithm)[HEAD]
    assert weight.abs().max() <= 0.05
    assert (weight.abs() == 0.05).any(), "some have arrived there"


def test_a_plastic_weight_that_adam_would_train_is_refused(build):
    class Trained(PlasticActorCritic):
        def setup(self):
            super().setup()
            dict(self.named_parameters())[HEAD].requires_grad_(True)

    config = ppo(PPOConfig(), -1, workers=0)
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=Trained, model_config=config.rl_module_spec.model_config))
    with pytest.raises(UserError, match=r"'network\.bodies.*weight' is trained by a gradient optimiser too"):
        build(config)


@pytest.mark.parametrize("workers", [0, 2])
def test_thresholds_follow_the_firing_rate_and_are_committed_once(workers, merged, build):
    """Of any number of workers: the change is a sum over environments."""
    adapts = ThresholdAdaptation(target_rate=0.9, lr=1e-3, threshold_min=0.5)
    algorithm = build(ppo(PPOConfig(), 0, workers=workers, homeostasis=adapts))
    name = "network.bodies.0.neurons.0.threshold"
    before = of_learner(algorithm)[name]
    assert before.tolist() == [1.0] * 8
    algorithm.train()
    after = of_learner(algorithm)[name]
    assert torch.equal(after, before + merged[-1][name])
    assert (after < before).all(), "neurons that fire less than they should are eased"
    for runner in of_runners(algorithm):
        assert torch.equal(runner[name], after)
    assert "network.bodies.1.neurons.0.threshold" in of_learner(algorithm)
    assert of_learner(algorithm)["network.bodies.1.neurons.0.threshold"].tolist() == 1.0, "the critic's stay"


def test_without_plastic_layers_the_module_is_refused(build):
    config = ppo(PPOConfig(), 0, workers=0)
    settings = {**config.rl_module_spec.model_config, "plastic": None}
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=PlasticActorCritic, model_config=settings))
    with pytest.raises(UserError, match="the policy has no plastic layers"):
        build(config)


class Counting(LocalAgent):
    """Counts the transitions of each state."""

    plastic_names = ("visits",)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("visits", torch.zeros(16))

    def act(self, observations, starts, steps, generator):
        self.seen = torch.as_tensor(observations)
        return torch.randint(4, self.seen.shape, generator=generator).numpy()

    def learn(self, rewards, terminated, truncated, valid, observations):
        self.visits += torch.bincount(self.seen[torch.as_tensor(valid)], minlength=16)

    def greedy(self, observations):
        return np.zeros(len(observations), np.int64)


def counting(workers: int) -> PlasticConfig:
    config = PlasticConfig()
    config.environment("FrozenLake-v1")
    config.env_runners(num_env_runners=workers, num_envs_per_env_runner=4 // max(1, workers))
    config.learners(num_learners=0)
    config.training(train_batch_size_per_learner=64)
    config.rl_module(
        rl_module_spec=RLModuleSpec(module_class=LocalModule, model_config={"make": lambda *spaces: Counting()})
    )
    config.fault_tolerance(restart_failed_env_runners=True)
    config.debugging(seed=0, log_level="ERROR")
    return config


VISITS = "agent.visits"


@pytest.mark.parametrize("workers", [0, 2])
def test_every_step_of_every_runner_is_counted_once(workers, build):
    algorithm = build(counting(workers))
    for _ in range(3):
        steps = algorithm.train()["num_env_steps_sampled_lifetime"]
    assert of_learner(algorithm)[VISITS].sum() == steps
    for runner in of_runners(algorithm):
        assert torch.equal(runner[VISITS], of_learner(algorithm)[VISITS])


def test_learning_goes_on_when_a_runner_is_killed(build):
    algorithm = build(counting(2))
    first = algorithm.train()["num_env_steps_sampled_lifetime"]
    pids = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    os.kill(pids[0], signal.SIGKILL)
    for _ in range(3):
        steps = algorithm.train()["num_env_steps_sampled_lifetime"]
    assert steps > first
    assert of_learner(algorithm)[VISITS].sum() == steps, "what was learned stays, nothing is counted twice"


def test_a_checkpoint_holds_what_was_learned(build, tmp_path):
    algorithm = build(counting(0))
    algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint")
    other = build(counting(0))
    other.restore_from_path(tmp_path / "checkpoint")
    assert torch.equal(of_learner(other)[VISITS], of_learner(algorithm)[VISITS])
    assert other.train()["num_env_steps_sampled_lifetime"] == of_learner(other)[VISITS].sum()
