"""An environment whose episodes never end, after the first few of each copy.

It leaves the file ``marks/training`` or ``marks/judging`` where such an episode is under way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

_FIRST_SEED = 1_000_000
"""Of evaluations; training seeds its environments from 2**31 on."""
_LENGTH, _UNDER_WAY = 20, 200


class Endless(gym.Env):
    """Random observations; ``num_short`` episodes of each copy that trains end after 20 steps."""

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, marks: str, num_short: int = 0) -> None:
        self.metadata = {"render_modes": []}
        self.marks, self.num_short = Path(marks), num_short
        self.count, self.num_ended, self.judges = 0, 0, False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.judges = seed is not None and _FIRST_SEED <= seed < 2**31
        self.count = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.count += 1
        if self.count == _UNDER_WAY:
            (self.marks / ("judging" if self.judges else "training")).touch()
        ended = not self.judges and self.num_ended < self.num_short and self.count == _LENGTH
        self.num_ended += ended
        return self._observation(), 1.0, ended, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)


gym.register("Endless-v0", entry_point=Endless)
