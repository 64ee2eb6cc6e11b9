"""Algorithms on the batched env runner: sample a fragment everywhere, learn from it, send the weights back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from ray.exceptions import RayError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from synrl_ray.algorithms.batched import BatchedAlgorithm
from synrl_ray.algorithms.on_policy.learner import PolicyGradientLearner, PPOLearner
from synrl_ray.algorithms.on_policy.train_batch import Batch, num_minibatches, num_valid, shares, train_batch
from synrl_ray.errors import worker_died
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.metrics import SECONDS
from synrl_ray.sampling.return_scale import ReturnScale
from synrl_ray.sampling.rollout import Rollout

_RETURN_SCALE = "return_scale"


class RolloutConfig(AlgorithmConfig):
    """Settings that all rollout algorithms share.

    ``train_batch_size_per_learner`` steps are divided among the runners' environments; with
    ``batch_mode="complete_episodes"`` every environment runs one whole episode instead.
    """

    learner: type

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or RolloutAlgorithm)
        self.exploration_config: dict[str, Any] = {}
        self.env_runner_cls = BatchedEnvRunner
        self.rollout_fragment_length = "auto"
        self.gae_lambda = 1.0
        self.standardise_advantages = False
        self.use_baseline = True
        self.reward_scale = 1.0
        self.normalise_rewards = False
        self.vf_loss_coeff = 0.5
        self.entropy_coeff = 0.0
        self.num_epochs = 1
        self.optimizer_name: Literal["adam", "rmsprop"] = "adam"
        self.max_failure_share = 0.01

    def rollouts(self, **settings: Any) -> RolloutConfig:
        """Set the algorithm's own settings by name.

        Raises:
            ValueError: for a name that is no setting.
        """
        for name, value in settings.items():
            if not hasattr(self, name):
                raise ValueError(f"unknown setting {name!r} of {type(self).__name__}")
            setattr(self, name, value)
        return self

    def get_default_learner_class(self) -> type:
        """The algorithm's learner."""
        return self.learner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """A spiking actor-critic."""
        return RLModuleSpec(module_class=ActorCriticModule)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {}


class PPOConfig(RolloutConfig):
    """Proximal policy optimisation."""

    learner = PPOLearner

    def __init__(self) -> None:
        super().__init__()
        self.clip_param = 0.2
        self.gae_lambda = 0.95
        self.standardise_advantages = True


class A2CConfig(RolloutConfig):
    """Advantage actor-critic, synchronous (Mnih et al. 2016, arXiv:1602.01783): one step on each fragment."""

    learner = PolicyGradientLearner

    def __init__(self) -> None:
        super().__init__()
        self.optimizer_name = "rmsprop"
        self.rmsprop_alpha = 0.99
        self.rmsprop_eps = 1e-5


class ReinforceConfig(A2CConfig):
    """REINFORCE (Williams 1992, doi:10.1007/BF00992696): whole episodes, reward-to-go, with or without baseline."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_mode = "complete_episodes"
        self.optimizer_name = "adam"
        self.standardise_advantages = True


class RolloutAlgorithm(BatchedAlgorithm):
    """One iteration: every runner fills a fragment, the learner passes over all of it, weights go back."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """The settings."""
        return PPOConfig()

    def setup(self, config: Any) -> None:
        """RLlib's constructor."""
        super().setup(config)
        self.return_scale = ReturnScale(self.config.gamma)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**super().get_state(*args, **kwargs), _RETURN_SCALE: self.return_scale.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`get_state`."""
        super().set_state(state)
        if _RETURN_SCALE in state:
            self.return_scale.set_state(state[_RETURN_SCALE])

    def _measure_observations(self, rollouts: Sequence[Rollout]) -> None:
        """Let the network's normaliser see the observations, after they were learned from as they were met."""
        if not self.get_module().network.config.normalise_observations:
            return
        seen = torch.from_numpy(np.concatenate([rollout.observations[rollout.valid] for rollout in rollouts]))
        self.learner_group.foreach_learner(
            lambda learner: learner.module[DEFAULT_MODULE_ID].unwrapped().network.measure(seen)
        )

    def _learn(self, batch: Batch) -> list[Any]:
        """Pass over the batch, in this process or in those of the learners.

        Raises:
            UserError: if a learner died.
        """
        config, number = self.config, self.config.num_learners
        parts = [MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(s)}, num_valid(s)) for s in shares(batch, number or 1)]
        try:
            learned = self.learner_group.update(
                training_data=TrainingData(batches=parts) if number else TrainingData(batch=parts[0]),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps()},
                num_epochs=config.num_epochs,
                # As many for each learner, or one would wait for the others.
                num_total_minibatches=num_minibatches(batch, config.minibatch_size),
            )
        except (RayError, RuntimeError) as error:
            if number and self.learner_group._worker_manager.num_healthy_actors() < number:
                raise worker_died() from error
            raise
        return list(learned)

    def training_step(self) -> None:
        """Sample, learn, synchronise."""
        config = self.config
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            rollouts: list[Rollout] = self._sample()
        began = time.perf_counter()
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            scale = self.return_scale.update(rollouts) if config.normalise_rewards else 1.0
            batch = train_batch(
                rollouts,
                gamma=config.gamma,
                gae_lambda=config.gae_lambda,
                standardise=config.standardise_advantages,
                use_baseline=config.use_baseline,
                reward_scale=config.reward_scale * scale,
            )
            self.metrics.aggregate(self._learn(batch), key=LEARNER_RESULTS)
        self._measure_observations(rollouts)
        self.metrics.log_value((SECONDS, "learner"), time.perf_counter() - began, reduce="sum")
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)
