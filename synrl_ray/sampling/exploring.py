"""The env runner of policies that explore by a schedule."""

from __future__ import annotations

from typing import Any

from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.rollout import Rollout


class ExploringEnvRunner(BatchedEnvRunner):
    """Collects fragments with an epsilon-greedy policy, each with the probability that the settings give its start."""

    def sample(self, **kwargs: Any) -> Rollout:
        """See the base class."""
        self.module.network.distribution.epsilon = self.config.settings.epsilon_at(self._steps_of_run(0))
        return super().sample(**kwargs)
