"""PPO on the batched env runner: RLlib's algorithm and loss, without its episode objects and connectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from synrl_ray.algorithms.learner import FinitePPOLearner
from synrl_ray.algorithms.train_batch import num_rows, take_rows, train_batch
from synrl_ray.sampling.batched import BatchedEnvRunner


class RolloutPPOConfig(PPOConfig):
    """PPO's settings, with the batched env runner and the learner that takes its batches."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or RolloutPPO)
        self.exploration_config: dict[str, Any] = {}
        self.env_runner_cls = BatchedEnvRunner

    def get_default_learner_class(self) -> type:
        """The learner."""
        return RolloutPPOLearner


class RolloutPPO(PPO):
    """One iteration: every runner fills a fragment, the learner passes over all of it, weights go back."""

    @classmethod
    def get_default_config(cls) -> PPOConfig:
        """The settings."""
        return RolloutPPOConfig()

    def training_step(self) -> None:
        """Sample, learn, synchronise."""
        config = self.config
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            results = self.env_runner_group.foreach_env_runner(
                lambda runner: (runner.sample(), runner.get_metrics()),
                local_env_runner=self.env_runner_group.num_remote_env_runners() == 0,
            )
            rollouts = [rollout for rollout, _ in results]
            self.metrics.aggregate([metrics for _, metrics in results], key=ENV_RUNNER_RESULTS)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            batch = train_batch(rollouts, gamma=config.gamma, gae_lambda=config.lambda_, standardise=True)
            learned = self.learner_group.update(
                batch=MultiAgentBatch(
                    {DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=sum(rollout.num_steps for rollout in rollouts)
                ),
                timesteps={
                    NUM_ENV_STEPS_SAMPLED_LIFETIME: self.metrics.peek(
                        (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
                    )
                },
                num_epochs=config.num_epochs,
                minibatch_size=config.minibatch_size,
            )
            self.metrics.aggregate(learned, key=LEARNER_RESULTS)
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group)


class RolloutPPOLearner(FinitePPOLearner):
    """PPO's learner on ready batches: each epoch passes over every row exactly once, in a new order."""

    def _create_iterator_if_necessary(
        self, *, training_data: Any, num_epochs: int = 1, minibatch_size: int | None = None, **kwargs: Any
    ) -> Iterator[MultiAgentBatch]:
        batch = dict(training_data.batch.policy_batches[DEFAULT_MODULE_ID])
        rows, steps_each = num_rows(batch), batch[Columns.ADVANTAGES][0].numel()
        size = rows if minibatch_size is None else max(1, minibatch_size // steps_each)
        for _ in range(num_epochs):
            for chosen in torch.randperm(rows).split(size):
                yield MultiAgentBatch(
                    {DEFAULT_MODULE_ID: SampleBatch(take_rows(batch, chosen))}, env_steps=len(chosen) * steps_each
                )
