"""How long an episode may last."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import gymnasium as gym

from synrl_ray.errors import UserError

MOST_STEPS = 27_000
"""Environment steps after which an episode is cut where its environment sets no time limit: the decisions of the
longest game of Atari, 108,000 frames of which four make one. Nothing that ends by itself is known to last longer."""
LONGEST_LIMIT = 1_000_000
"""Environment steps that a limit which is given to an environment may have, for instance by a stranger's file."""


def require_time_limit(limit: int | None, name: str = "time_limit") -> None:
    """Refuse a limit that leaves no step, or that is none.

    Raises:
        UserError: for those; ``None`` is the environment's own.
    """
    if limit is not None and not isinstance(limit, Integral):
        raise UserError(f"{name}={limit!r} is no number of steps", "choose a whole number")
    if limit is not None and limit < 1:
        raise UserError(f"{name}={limit} leaves no move", "choose 1 or more")
    if limit is not None and limit > LONGEST_LIMIT:
        raise UserError(f"{name}={limit:,} never ends an episode", f"choose at most {LONGEST_LIMIT:,}")


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
