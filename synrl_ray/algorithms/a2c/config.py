"""From A2C's settings to its RLlib configuration."""

from __future__ import annotations

import gymnasium as gym

from synrl_ray.algorithms.on_policy.algorithm import Estimate, OnPolicyConfig, check_sequences
from synrl_ray.settings.algorithms import A2C
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig

_STEPS_PER_ROW = 2000


class A2CConfig(OnPolicyConfig):
    """Advantage actor-critic, synchronous (Mnih et al. 2016, arXiv:1602.01783): one step on each fragment."""

    settings: A2C

    def __init__(self) -> None:
        super().__init__()
        self.use(A2C())
        # Its updates are small: a row of metrics for each would cost more than some of them.
        self.reporting(min_sample_timesteps_per_iteration=_STEPS_PER_ROW)

    @property
    def estimate(self) -> Estimate:
        """Advantages as they are."""
        return Estimate(gae_lambda=self.settings.gae_lambda)

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """A fragment of every environment."""
        return self.settings.num_steps * num_envs

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """Fragments of a policy that carries a state are whole sequences."""
        check_sequences(self.settings.num_steps, network)
