"""CartPole that calls ``sys.exit`` after a number of steps, or returns a column vector from then on."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class CarelessCartPole(CartPoleEnv):
    def __init__(self, fault: str, after: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault, self.left = fault, after

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.left -= 1
        if self.left < 0 and self.fault == "exit":
            sys.exit(0)
        return (observation[:, None] if self.left < 0 else observation), *rest


gym.register("CarelessCartPole-v0", entry_point=CarelessCartPole, max_episode_steps=500)
