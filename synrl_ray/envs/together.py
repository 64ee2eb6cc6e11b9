"""Episodes that are played together, each from a seed of its own: as an environment steps them itself, or one by one.

Legend: N episodes, n of which go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from synrl_ray.envs.checked import CheckedEnv
from synrl_ray.envs.make import make_environment
from synrl_ray.settings.environment import Environment


class Together(Protocol):
    """N episodes. An environment of the project that can step them faster than one by one has a method
    ``together(count)`` that returns such an object; the episodes are the same."""

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode in each row; observations ``[N, ...]``."""

    def step(self, rows: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step some rows; observations, rewards, and whether each has ended, ``[n, ...]``."""

    def close(self) -> None:
        """Release the environments."""


class OneByOne:
    """Any environment, N times."""

    def __init__(self, envs: Sequence[CheckedEnv]) -> None:
        self.envs = envs

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode in each row."""
        return np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(self.envs, seeds, strict=True)])

    def step(self, rows: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step some rows."""
        found = [self.envs[row].step(action) for row, action in zip(rows, actions, strict=True)]
        observations, rewards, terminated, truncated, _ = zip(*found, strict=True)
        return np.stack(observations), np.array(rewards), np.array(terminated) | np.array(truncated)

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


def together(environment: Environment, count: int) -> Together:
    """So many training environments, stepped together.

    Raises:
        UserError: if they cannot be made.
    """
    made = [_made(environment)]
    alone: Any = made[0].unwrapped
    if is_as_written(made[0], "together"):
        made[0].close()
        found: Together = alone.together(count)
        return found
    while len(made) < count:
        made.append(_made(environment))
    return OneByOne(made)


def is_as_written(env: gym.Env, method: str) -> bool:
    """Whether an environment's class offers a faster way by this method, and nothing changes what it does: no wrapper
    but those that check or cut episodes, and no class made of it that steps otherwise."""
    while isinstance(env, gym.Wrapper):
        if not isinstance(env, (CheckedEnv, OrderEnforcing, PassiveEnvChecker, TimeLimit)):
            return False
        env = env.env
    for cls in type(env).__mro__:
        if {method, "reset", "step"} & vars(cls).keys():
            return method in vars(cls)
    return False


def _made(environment: Environment) -> CheckedEnv:
    env = make_environment(environment.id, environment.kwargs, environment.preprocessing, training=True)
    assert isinstance(env, CheckedEnv)
    return env
