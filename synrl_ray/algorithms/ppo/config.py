"""From PPO's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Self

import gymnasium as gym

from synrl_ray.algorithms.on_policy.algorithm import Estimate, OnPolicyConfig
from synrl_ray.errors import UserError
from synrl_ray.settings.algorithms import PPO
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig


class PPOConfig(OnPolicyConfig):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347): several passes over each batch."""

    settings: PPO

    def __init__(self) -> None:
        super().__init__()
        self.use(PPO())

    def use(self, settings: PPO) -> Self:
        """Hold the settings; passes and minibatches are RLlib's too."""
        super().use(settings)
        self.training(num_epochs=settings.num_epochs, minibatch_size=settings.minibatch_size)
        return self

    @property
    def estimate(self) -> Estimate:
        """Advantages of mean 0 and standard deviation 1."""
        return Estimate(gae_lambda=self.settings.gae_lambda, standardise=True)

    @property
    def clip_param(self) -> float:
        """How far ratios may go from one."""
        return self.settings.clip_param

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """The settings' number, rounded up to whole fragments, and those to whole sequences of a carried state."""
        fragment = -(-self.settings.train_batch_size // num_envs)
        if network.has_state and fragment > network.max_seq_len:
            fragment = -(-fragment // network.max_seq_len) * network.max_seq_len
        return fragment * num_envs

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """A minibatch is part of a batch."""
        minibatch, batch = self.settings.minibatch_size, self.settings.train_batch_size
        if minibatch > batch:
            raise UserError(f"minibatch_size {minibatch} is larger than train_batch_size {batch}", "make it smaller")
