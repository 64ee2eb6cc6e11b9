"""An environment whose observation counts the episode's steps, and which fails at set calls of ``step``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

ENV_ID = "failing_env:Failing-v0"


class Failing(gym.Env):
    """Episodes of ``length`` steps; ``faults`` maps the number of a step to what happens, in the first ``sick`` copies;
    ``always`` happens at every step, or at every reset but the first, of every copy."""

    observation_space = gym.spaces.Box(-1, 100, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    made = 0
    closed = 0

    def __init__(
        self,
        faults: Mapping[int | str, str] | None = None,
        length: int = 10,
        always: str | None = None,
        sick: int = 10**9,
    ) -> None:
        self.metadata = {"render_modes": []}
        self.faults = {int(step): fault for step, fault in (faults or {}).items()}
        self.length, self.always = length, always
        self.calls = 0
        type(self).made += 1
        self.copy = type(self).made
        if self.copy > sick:
            self.faults = {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        if self.always == "reset" and self.calls:
            raise OSError("no more memory\nsecond line")
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.calls, self.count = self.calls + 1, self.count + 1
        fault = self.always or self.faults.get(self.calls)
        observation, reward = self._observation(), 1.0
        if fault == "raise":
            raise RuntimeError("the camera broke")
        if fault == "observation":
            observation = np.full(2, np.nan, np.float32)
        if fault == "reward":
            reward = float("inf")
        if fault == "exit":
            sys.exit(0)
        if fault == "column":
            observation = observation[:, None]
        terminated: Any = self.count == self.length
        return observation, reward, [terminated] if fault == "list" else terminated, False, {}

    def close(self) -> None:
        type(self).closed += 1

    def _observation(self) -> np.ndarray:
        return np.array([self.count, self.copy], np.float32)


gym.register("Failing-v0", entry_point=Failing)
