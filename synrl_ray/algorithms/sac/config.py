"""From SAC's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
from ray.rllib.algorithms.sac import SACConfig as RLlibSACConfig

from synrl_ray.algorithms.off_policy.config import OffPolicyConfig
from synrl_ray.algorithms.sac.algorithm import ReplaySAC
from synrl_ray.algorithms.sac.learner import SACLearner
from synrl_ray.rl_modules.soft_actor_critic import SACModule, check_soft_actor_critic
from synrl_ray.settings.algorithms import SAC
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig


class SACConfig(OffPolicyConfig, RLlibSACConfig):
    """RLlib's configuration of SAC, with our replay, and one learning rate for all that is learned."""

    settings: SAC
    learner = SACLearner
    module = SACModule

    def __init__(self) -> None:
        super().__init__(algo_class=ReplaySAC)
        self.reporting(min_time_s_per_iteration=None, min_sample_timesteps_per_iteration=1000)
        self.use(SAC())

    def use(self, settings: SAC) -> Self:
        """Hold the settings, and tell RLlib's loss and module of theirs."""
        self.rl_module(model_config={"critic_sizes": settings.critic_sizes})
        return (
            super()
            .use(settings)
            .training(
                initial_alpha=settings.initial_alpha,
                target_entropy="auto" if settings.target_entropy is None else settings.target_entropy,
            )
        )

    def training(self, *, lr: Any = None, **settings: Any) -> Self:
        """As RLlib's, but ``lr`` is what RLlib's SAC has three names for, and refuses under this one."""
        rates = {} if lr is None else dict.fromkeys(("actor_lr", "critic_lr", "alpha_lr"), lr)
        return super().training(**rates, **settings)

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """The policy is one that SAC can train."""
        check_soft_actor_critic(*spaces, network, environment.id)
        super().check(environment, network, spaces)
