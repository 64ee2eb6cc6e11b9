"""From DQN's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Self

import gymnasium as gym
from ray.rllib.algorithms.dqn import DQNConfig as RLlibDQNConfig

from synrl_ray.algorithms.dqn.learner import DQNLearner
from synrl_ray.algorithms.off_policy.algorithm import ReplayAlgorithm
from synrl_ray.algorithms.off_policy.config import OffPolicyConfig
from synrl_ray.policies.q_network import check_q_network
from synrl_ray.rl_modules import QModule
from synrl_ray.settings.algorithms import DQN
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig


class DQNConfig(OffPolicyConfig, RLlibDQNConfig):
    """RLlib's configuration of DQN, with our replay."""

    settings: DQN
    learner = DQNLearner
    module = QModule

    def __init__(self) -> None:
        super().__init__(algo_class=ReplayAlgorithm)
        self.use(DQN())

    def use(self, settings: DQN) -> Self:
        """Hold the settings, and tell RLlib's exploration, loss and target updates of theirs."""
        return (
            super()
            .use(settings)
            .training(
                epsilon=[(0, settings.epsilon_start), (settings.epsilon_steps, settings.epsilon_end)],
                target_network_update_freq=settings.target_update if settings.tau == 1.0 else 1,
                double_q=settings.double_q,
                dueling=settings.dueling,
            )
        )

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """The network has action values."""
        check_q_network(*spaces, network, environment.id)
        super().check(environment, network, spaces)
