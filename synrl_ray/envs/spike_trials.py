"""Trials in which every input fires once, so that a choice between two can be told by spike times only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.time_limit import LONGEST_LIMIT
from synrl_ray.errors import UserError

CHANCE, OPTIMUM = 0.5, 1.0
"""Expected return of every policy that knows only how often inputs have fired, and of the best policy; both exact."""
MOST_NUMBERS = 2**20
"""Of an observation."""


class SpikeTrialsEnv(gym.Env[np.ndarray, np.int64]):
    """What such tasks share; one of them says when the inputs fire, and which choice is right.

    Observation: the spikes of a trial, ``Box(0, 1, (K, I))`` of float32, 0 or 1: K steps of 1 ms, and I inputs. **Every
    input fires once in every trial**, so that counts tell nothing.
    Actions: 0 or 1. Reward: ``1 / trials`` for the right one, else 0, and the next trial; after ``trials`` of them an
    episode is terminated. So the return is the share of right choices.

    Args:
        num_inputs: I.
        duration: K, ms.
        trials: of an episode.
        render_mode: none is known.

    Raises:
        UserError: for trials that are too long, or too many.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own convention)

    right_action: int
    """Of this trial."""

    def __init__(self, num_inputs: int, duration: int, trials: int, render_mode: str | None = None) -> None:
        if duration * num_inputs > MOST_NUMBERS or trials > LONGEST_LIMIT:
            problem = f"{trials:,} trials of {duration:,} ms and {num_inputs:,} inputs are too many"
            raise UserError(problem, f"at most {MOST_NUMBERS:,} numbers a trial and {LONGEST_LIMIT:,} trials")
        self.num_inputs, self.duration, self.trials = num_inputs, duration, trials
        self.observation_space = spaces.Box(0.0, 1.0, (duration, num_inputs), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode with its first trial."""
        super().reset(seed=seed)
        self.left = self.trials
        return self._next_trial(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Choose, and go on to the next trial."""
        reward = float(action == self.right_action) / self.trials
        self.left -= 1
        return self._next_trial(), reward, self.left == 0, False, {}

    def _next_trial(self) -> np.ndarray:
        """``[K, I]``"""
        spikes = np.zeros((self.duration, self.num_inputs), np.float32)
        spikes[self._draw_times(), np.arange(self.num_inputs)] = 1.0
        return spikes

    def _draw_times(self) -> np.ndarray:
        """Decide which choice is right in the next trial, and when each input fires, ``[I]``, ms."""
        raise NotImplementedError


def check_whole(given: Mapping[str, tuple[int, int]]) -> None:
    """Raise :class:`UserError` for what is no whole number, or too small; name → value and the least it may be."""
    for name, (value, least) in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name}={value!r} is no number for a trial", f"choose a whole number, {least} or more")
