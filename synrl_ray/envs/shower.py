"""A shower whose temperature is to be kept comfortable, one decision a second for a minute.

The temperature is a whole number of degrees; with whole-numbered noise the environment is a finite Markov
decision process, and :func:`optimal_return` is exact.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

COMFORTABLE = (37, 39)
"""Degrees Celsius, both included: 38 ± 1."""
SECONDS = 60
_START = (33, 43)
_BOUNDS = (0, 100)
_NOISE = (-1, 0, 1)


class ShowerEnv(gym.Env[np.ndarray, np.int64]):
    """Turn the water colder, leave it, or turn it hotter.

    Observation: temperature over 100 and share of the time that is left, ``Box(0, 1, (2,))``.
    Actions: 0, 1, 2 change the temperature by -1, 0, +1 degree. After each, noise of -1, 0 or +1 degree is added,
    equally likely. Reward: +1 for a comfortable temperature, else -1. An episode starts between 33 and 43 degrees and
    is terminated after 60 seconds (the time that is left is observed, so that it is an end and no truncation).

    Args:
        noise: add the noise; without it the best policy earns the most that is possible from every start.

    Example:
        >>> env = ShowerEnv()
        >>> observation, _ = env.reset(seed=0)
        >>> env.observation_space.contains(observation)
        True
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (gymnasium's own convention)

    def __init__(self, noise: bool = True, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.noise = noise
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start a minute."""
        super().reset(seed=seed)
        self.temperature = int(self.np_random.integers(_START[0], _START[1] + 1))
        self.left = SECONDS
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One second."""
        change = int(action) - 1
        if self.noise:
            change += int(self.np_random.choice(_NOISE))
        self.temperature = int(np.clip(self.temperature + change, *_BOUNDS))
        self.left -= 1
        reward = 1.0 if COMFORTABLE[0] <= self.temperature <= COMFORTABLE[1] else -1.0
        return self._observation(), reward, self.left == 0, False, {"temperature": self.temperature}

    def render(self) -> str | None:  # type: ignore[override]
        """A line with the temperature, for ``render_mode="ansi"``."""
        return f"{self.temperature} °C, {self.left} s left\n" if self.render_mode == "ansi" else None

    def _observation(self) -> np.ndarray:
        return np.array([self.temperature / _BOUNDS[1], self.left / SECONDS], dtype=np.float32)


def optimal_return(noise: bool = True) -> float:
    r"""The expected return of the best policy over all starts, by dynamic programming (reward units).

    .. math:: V_k(s) = \max_a \langle r(s') + V_{k-1}(s') \rangle_{s'}, \qquad V_0 = 0
    """
    temperatures = np.arange(_BOUNDS[0], _BOUNDS[1] + 1)
    reward = np.where((temperatures >= COMFORTABLE[0]) & (temperatures <= COMFORTABLE[1]), 1.0, -1.0)
    value = np.zeros(len(temperatures))
    for _ in range(SECONDS):
        worth = reward + value
        choices = [
            np.mean([worth[np.clip(temperatures + a + n, *_BOUNDS)] for n in (_NOISE if noise else (0,))], axis=0)
            for a in (-1, 0, 1)
        ]
        value = np.max(choices, axis=0)
    starts = np.arange(_START[0], _START[1] + 1)
    return float(value[starts].mean())
