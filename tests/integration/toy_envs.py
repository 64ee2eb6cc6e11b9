"""Small environments of one kind of action or observation each, whose best return is 8 and a random one's much less."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

NUM_STEPS = 8


class Toy(gym.Env):
    """Eight steps, each with a new observation and a reward from 0 to 1 for the action that answers it."""

    def __init__(self, **kwargs: Any) -> None:
        vars(self).update(kwargs)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        reward = self._judge(action)
        self.steps += 1
        return self._observe(), float(reward), self.steps == NUM_STEPS, False, {}

    def _observe(self) -> Any:
        raise NotImplementedError

    def _judge(self, action: Any) -> float:
        raise NotImplementedError


class Levers(Toy):
    """Put each of two levers where the observation says; random: 8 * (1/3 + 1/4) / 2 = 2.3."""

    observation_space = spaces.MultiDiscrete([3, 4])
    action_space = spaces.MultiDiscrete([3, 4])

    def _observe(self) -> Any:
        self.wanted = self.np_random.integers(0, [3, 4])
        return self.wanted

    def _judge(self, action: Any) -> float:
        assert self.action_space.contains(action)
        return float((action == self.wanted).mean())


class Switches(Levers):
    """Set each of four switches as the observation says; random: 4."""

    observation_space = spaces.MultiBinary(4)
    action_space = spaces.MultiBinary(4)

    def _observe(self) -> Any:
        self.wanted = self.np_random.integers(0, 2, 4).astype(np.int8)
        return self.wanted


class Parts(Toy):
    """Choose the goal, which is one part of an observation of many; random: 8 / 3."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Dict(
        {
            "noise": spaces.Box(-1, 1, (2, 2), np.float64),
            "goal": spaces.Discrete(3, start=5),
            "more": spaces.Tuple((spaces.MultiBinary(2), spaces.Dict({"levers": spaces.MultiDiscrete([2, 3])}))),
        }
    )

    def _observe(self) -> Any:
        random = self.np_random
        self.goal = int(random.integers(5, 8))
        more = (random.integers(0, 2, 2).astype(np.int8), {"levers": random.integers(0, [2, 3])})
        return {"noise": random.uniform(-1, 1, (2, 2)), "goal": self.goal, "more": more}

    def _judge(self, action: Any) -> float:
        return float(action == self.goal - 5)


class Masked(Toy):
    """Actions that are allowed pay 0.5, the last one of them 1; others raise. Nothing is allowed at the end."""

    def __init__(self, num_actions: int = 5, empty_after: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_actions, self.empty_after = num_actions, empty_after
        self.action_space = spaces.Discrete(num_actions)
        # The mask is not the first part: an OrderedDict keeps its order.
        parts = [
            ("observations", spaces.Box(-1, 1, (2,), np.float32)),
            ("action_mask", spaces.MultiBinary(num_actions)),
        ]
        self.observation_space = spaces.Dict(OrderedDict(parts))

    def _observe(self) -> Any:
        self.mask = np.zeros(self.num_actions, np.int8)
        if self.steps < (NUM_STEPS if self.empty_after is None else self.empty_after):
            self.mask[self.np_random.choice(self.num_actions, 2, replace=False)] = 1
        last = 0 if not self.mask.any() else np.flatnonzero(self.mask)[-1]
        angle = 2 * np.pi * last / self.num_actions
        return {"action_mask": self.mask, "observations": np.array([np.cos(angle), np.sin(angle)], np.float32)}

    def _judge(self, action: Any) -> float:
        if not self.mask[action]:
            raise ValueError(f"action {action} is not allowed")
        return 1.0 if action == np.flatnonzero(self.mask)[-1] else 0.5


for _kind in (Levers, Switches, Parts, Masked):
    gym.register(f"Toy{_kind.__name__}-v0", entry_point=_kind)
