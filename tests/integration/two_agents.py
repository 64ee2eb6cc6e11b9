"""A small environment with two agents, for RLlib's multi-agent API."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from ray.rllib.env.multi_agent_env import MultiAgentEnv

STEPS = 6


class TwoCues(MultiAgentEnv):
    """Each agent sees a cue of its own, 1 or -1, and is paid 1 a step for the action that it stands for (1 or 0).

    The one that is called ``sees`` sees its cue at every step, ``recalls`` at the first one only, and then zeros.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.agents = self.possible_agents = ["sees", "recalls"]
        box = spaces.Box(-1, 1, (2,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, box)
        self.action_spaces = dict.fromkeys(self.agents, spaces.Discrete(2))
        self._rng = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """New cues."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._cues = {name: int(self._rng.integers(2)) for name in self.agents}
        self._step = 0
        return self._observations(), {}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """One step."""
        self._step += 1
        rewards = {name: float(actions[name] == cue) for name, cue in self._cues.items()}
        over = {"__all__": self._step == STEPS}
        return self._observations(), rewards, over, {"__all__": False}, {}

    def _observations(self) -> dict[str, np.ndarray]:
        shown = {name: np.array([2 * cue - 1, 1 - 2 * cue], np.float32) for name, cue in self._cues.items()}
        if self._step:
            shown["recalls"] = np.zeros(2, np.float32)
        return shown
