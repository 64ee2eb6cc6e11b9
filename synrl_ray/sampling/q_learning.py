"""An env runner that steps tabular environments and learns a Q-table in one compiled loop.

Legend: T environment steps of the fragment, N environments.
"""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    NUM_EPISODES,
)

from synrl_ray.policies.q_table import QTable
from synrl_ray.sampling.plastic import PLASTICITY, LearnedFragment
from synrl_ray.sampling.q_learning_kernel import Clock, Schedule, dynamics_of, learn_fragment
from synrl_ray.sampling.tabular import TabularEnvRunner


class QLearningEnvRunner(TabularEnvRunner):
    """Learns as :class:`~synrl_ray.sampling.plastic.PlasticEnvRunner` does with a
    :class:`~synrl_ray.policies.q_table.QTable`, hundreds of times faster.

    Where a table shows observations in place of its states, it takes the slow way.
    """

    def sample(self, **kwargs: Any) -> LearnedFragment:  # type: ignore[override]
        """Act and learn for T steps of every environment."""
        if self.table.observations is not None:
            return super().sample(**kwargs)
        began = time.perf_counter()
        fragment_length = self.config.get_rollout_fragment_length(self.worker_index)
        num_steps = fragment_length * self.num_envs
        episode_returns, episode_lengths = np.empty(num_steps), np.empty(num_steps)
        assert self.env.states is not None
        agent = cast(QTable, self.module.agent)
        config = agent.config
        num_episodes, sum_errors = learn_fragment(
            agent.q.numpy(),
            dynamics_of(self.table),
            Clock(fragment_length, self._steps_of_run(0), self.num_envs * (self.config.num_env_runners or 1)),
            Schedule(config.epsilon_start, config.epsilon_end, config.epsilon_steps),
            Schedule(config.lr, config.final_lr, config.lr_steps),
            config.gamma,
            self.env.states,
            self.env.elapsed,
            self._returns,
            episode_returns,
            episode_lengths,
            self.env.np_random,
        )
        self._seconds["policy"] += time.perf_counter() - began
        agent.note_errors(num_steps, sum_errors)
        agent.env_steps = self._steps_of_run(num_steps)
        self._count_steps(num_steps)
        self._log_episodes(episode_returns[:num_episodes], episode_lengths[:num_episodes])
        for name, value in self.module.plastic_metrics().items():
            self.metrics.log_value((PLASTICITY, name), value, window=1)
        return LearnedFragment(num_steps, self.module.take_delta())

    def _log_episodes(self, returns: np.ndarray, lengths: np.ndarray) -> None:
        """Log the means of the newest episodes at once: a row for each would take longer than learning from it."""
        if not len(returns):
            return
        window = max(1, -(-self.config.metrics_num_episodes_for_smoothing // (self.config.num_env_runners or 1)))
        newest, metrics = returns[-window:], self.metrics
        metrics.log_value(EPISODE_LEN_MEAN, float(lengths[-window:].mean()), window=1)
        metrics.log_value(EPISODE_RETURN_MEAN, float(newest.mean()), window=1)
        metrics.log_value(EPISODE_RETURN_MIN, float(newest.min()), reduce="min", window=1)
        metrics.log_value(EPISODE_RETURN_MAX, float(newest.max()), reduce="max", window=1)
        metrics.log_value(NUM_EPISODES, len(returns), reduce="sum")
