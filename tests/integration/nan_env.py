"""CartPole whose observation turns NaN after a given number of steps, all episodes together.

``for_good`` it stays so in the environments that take its place: they share what is left.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class NaNCartPole(CartPoleEnv):
    broken = False

    def __init__(self, nan_after: int, for_good: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.left, self.for_good = nan_after, for_good
        type(self).broken = type(self).broken and for_good

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.left -= 1
        is_nan = self.left < 0 or type(self).broken
        type(self).broken = is_nan and self.for_good
        return (np.full_like(observation, np.nan) if is_nan else observation), *rest


gym.register("NaNCartPole-v0", entry_point=NaNCartPole, max_episode_steps=500)
