"""Plastic env runners on environments whose dynamics are a table: all of them step at once."""

from __future__ import annotations

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_vector import TabularVectorEnv
from synrl_ray.sampling.plastic import PlasticEnvRunner


class TabularEnvRunner(PlasticEnvRunner):
    """Steps a :class:`~synrl_ray.envs.tabular_vector.TabularVectorEnv` in place of Gymnasium's environments.

    Raises:
        UserError: for an environment without a transition table.
    """

    def make_env(self) -> None:
        """Read the table. Nothing in it can fail, so there is nothing to restart."""
        self.table = TransitionTable.from_id(self.config.env, self.config.env_config)
        self.env: TabularVectorEnv = TabularVectorEnv(self.table, self.num_envs)
        self._env_reports_episodes = False
