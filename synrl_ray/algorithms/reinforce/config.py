"""From REINFORCE's settings to its RLlib configuration."""

from __future__ import annotations

import gymnasium as gym

from synrl_ray.algorithms.on_policy.algorithm import Estimate, OnPolicyConfig
from synrl_ray.errors import UserError
from synrl_ray.settings.algorithms import Reinforce
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig
from synrl_ray.settings.preprocessing import AtariFrames


class ReinforceConfig(OnPolicyConfig):
    """REINFORCE (Williams 1992, doi:10.1007/BF00992696): whole episodes, reward-to-go, with or without baseline."""

    settings: Reinforce

    def __init__(self) -> None:
        super().__init__()
        self.batch_mode = "complete_episodes"
        self.use(Reinforce())

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """Whole games: of one whose lives are episodes nothing but the first life would be met."""
        super().check(environment, network, spaces)
        frames = environment.preprocessing
        if isinstance(frames, AtariFrames) and frames.life_loss_ends_episode:
            problem = "REINFORCE begins a new game for every episode, so that it would learn from first lives alone"
            raise UserError(problem, "set life_loss_ends_episode=false")

    @property
    def estimate(self) -> Estimate:
        """Whole returns, brought to standard deviation 1."""
        return Estimate(standardise=True, use_baseline=self.settings.use_baseline)

    @property
    def coefficients(self) -> dict[str, float]:
        """Without a baseline the critic has nothing to learn."""
        kept = {} if self.settings.use_baseline else {"value_coeff": 0.0}
        return {**super().coefficients, **kept}

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """An episode of every environment, whose steps nobody knows before."""
        return num_envs
