"""Plastic env runners on environments whose dynamics are a table: all of them step at once."""

from __future__ import annotations

import time
from typing import Any

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_vector import TabularVectorEnv
from synrl_ray.policies.local.agent import Clock, FragmentLearner
from synrl_ray.sampling.metrics import log_episodes
from synrl_ray.sampling.plastic import LearnedFragment, PlasticEnvRunner


class TabularEnvRunner(PlasticEnvRunner):
    """Steps a :class:`~synrl_ray.envs.tabular_vector.TabularVectorEnv` in place of Gymnasium's environments.

    An agent that can learns whole fragments in one call, unless the table shows observations in place of its states.

    Raises:
        UserError: for an environment without a transition table.
    """

    def make_env(self) -> None:
        """Read the table. Nothing in it can fail, so there is nothing to restart."""
        self.table = TransitionTable.from_id(self.config.env, self.config.env_config)
        self.env: TabularVectorEnv = TabularVectorEnv(self.table, self.num_envs)
        self._env_reports_episodes = False

    def sample(self, **kwargs: Any) -> LearnedFragment:  # type: ignore[override]
        """Act and learn for T steps of every environment."""
        agent = self.module.agent
        if not isinstance(agent, FragmentLearner) or self.table.observations is not None:
            return super().sample(**kwargs)
        began = time.perf_counter()
        num_steps = self.config.get_rollout_fragment_length(self.worker_index)
        clock = Clock(num_steps, self._steps_of_run(0), self.num_envs * (self.config.num_env_runners or 1))
        assert self.env.states is not None
        lengths, returns = agent.learn_fragment(
            self.table, clock, self.env.states, self.env.elapsed, self._returns, self.env.np_random
        )
        self._seconds["policy"] += time.perf_counter() - began
        log_episodes(self.metrics, lengths, returns, self._window)
        return self._finish_fragment(num_steps * self.num_envs)
