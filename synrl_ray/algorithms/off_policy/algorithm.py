"""RLlib's algorithms on a :class:`~synrl_ray.algorithms.off_policy.replay.Replay`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQN as RLlibDQN
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TD_ERROR_KEY,
    TIMERS,
)

from synrl_ray.algorithms.activity import Activity, Rows
from synrl_ray.algorithms.off_policy.replay import Replay, Transitions
from synrl_ray.rl_modules.pushing import push_weights
from synrl_ray.settings.algorithms import OffPolicy


class ReplayAlgorithm(RLlibDQN):
    """One iteration: every runner adds a fragment, the learner draws ``num_updates`` batches, weights go back.

    RLlib's SAC is its DQN with another configuration. What an algorithm's configuration is, RLlib asks its class, and
    makes that of another kind into it: so each algorithm has a class of its own that derives from RLlib's.
    """

    replay: Replay

    def setup(self, config: AlgorithmConfig) -> None:
        """Build everything; RLlib calls this."""
        super().setup(config)
        self.activity = Activity(calibrates=False)
        self._start(0)

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint, with new episodes and an empty replay: learning waits until it is filled again."""
        super().restore_from_path(path, *args, **kwargs)
        push_weights(self.env_runner_group, self.learner_group, inference_only=True)
        self._start(self._env_steps())

    def _start(self, steps: int) -> None:
        """Begin with random numbers of their own for this run and this point of it."""
        self.replay = replay_of(self.config.settings)
        self.replay.reseed(np.random.SeedSequence([self.config.seed or 0, 2**31, steps]))
        self.env_runner_group.foreach_env_runner(lambda runner: runner.reseed(steps))

    def _env_steps(self) -> int:
        return int(self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0))

    def training_step(self) -> None:
        """Sample, learn, synchronise."""
        settings = self.config.settings
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            results = self.env_runner_group.foreach_env_runner(
                lambda runner: (runner.sample(), runner.get_metrics()),
                local_env_runner=self.env_runner_group.num_remote_env_runners() == 0,
            )
            self.metrics.aggregate([metrics for _, metrics in results], key=ENV_RUNNER_RESULTS)
        for episodes, _ in results:
            self.replay.add(episodes)
        self.activity.note(self.get_module().network, partial(_sample_rows, [e for found, _ in results for e in found]))
        if len(self.replay) < settings.learning_starts:
            return
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            for _ in range(settings.num_updates):
                self._learn()
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            push_weights(self.env_runner_group, self.learner_group, inference_only=True)

    def _learn(self) -> None:
        config = self.config
        drawn = self.replay.sample(config.total_train_batch_size, n_step=config.n_step, gamma=config.gamma)
        results = self.learner_group.update(
            batch=train_batch(drawn, config.environment_settings.reward_scale),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._env_steps()},
        )
        errors = np.concatenate([result[DEFAULT_MODULE_ID].pop(TD_ERROR_KEY).peek() for result in results], axis=None)
        self.replay.update_priorities(drawn.rows, errors)
        self.metrics.aggregate(results, key=LEARNER_RESULTS)


def _sample_rows(episodes: Sequence[SingleAgentEpisode], most: int) -> Rows:
    """Up to that many observations of episodes, evenly; there are no states."""
    seen = [np.asarray(episode.get_observations()) for episode in episodes if len(episode)]
    observations = np.concatenate(seen) if seen else np.zeros((0, 1))
    chosen = np.linspace(0, len(observations) - 1, min(len(observations), most)).astype(np.int64)
    return observations[chosen], np.zeros((len(chosen), 0), np.float32)


def replay_of(settings: OffPolicy) -> Replay:
    """An empty replay: prioritised or uniform, as the settings say."""
    alpha = settings.priority_alpha if settings.prioritised else 0.0
    return Replay(settings.replay_capacity, alpha=alpha, beta=settings.priority_beta)


def train_batch(drawn: Transitions, reward_scale: float = 1.0) -> MultiAgentBatch:
    """Transitions as the columns of RLlib's learners, their rewards multiplied by ``reward_scale``."""
    columns = {
        Columns.OBS: drawn.observations,
        Columns.NEXT_OBS: drawn.next_observations,
        Columns.ACTIONS: drawn.actions,
        Columns.REWARDS: drawn.rewards * np.float32(reward_scale),
        Columns.TERMINATEDS: drawn.terminated,
        "weights": drawn.weights,
        "n_step": drawn.num_steps,
    }
    batch = SampleBatch({name: torch.from_numpy(values) for name, values in columns.items()})
    return MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=len(drawn.rows))
