"""CartPole whose observation turns NaN after a given number of steps, all episodes together."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv


class NaNCartPole(CartPoleEnv):
    def __init__(self, nan_after: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.left = nan_after

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.left -= 1
        return (np.full_like(observation, np.nan) if self.left < 0 else observation), *rest


gym.register("NaNCartPole-v0", entry_point=NaNCartPole, max_episode_steps=500)
