"""How long an episode may last."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

MOST_STEPS = 27_000
"""Environment steps after which an episode is cut where its environment sets no time limit: the decisions of the
longest game of Atari, 108,000 frames of which four make one. Nothing that ends by itself is known to last longer."""


def time_limit(env: Any) -> int | None:
    """The limit that an environment, or a vector environment, sets itself, in environment steps; also that of a
    ``TimeLimit`` around one that is not registered."""
    if envs := getattr(env, "envs", None):
        env = envs[0]
    spec = env.unwrapped.spec
    limit = None if spec is None else spec.kwargs.get("max_episode_steps", spec.max_episode_steps)
    if limit is not None:
        return int(limit) if limit > 0 else None  # -1 takes it away
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None


def most_steps(env: Any) -> int:
    """Environment steps after which an episode is cut, if it has not ended."""
    return time_limit(env) or MOST_STEPS
