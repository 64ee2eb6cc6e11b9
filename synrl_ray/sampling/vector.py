"""Vectorised environments for sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from synrl_ray.envs.registration import ensure_registered
from synrl_ray.errors import UserError


def make_vector(env_id: str, kwargs: Mapping[str, Any], num_envs: int) -> VectorEnv:
    """N environments that step together: the environment's own vectorised form where it has one.

    Raises:
        UserError: if it does not reset on the step after an episode's end, as the runner expects.
    """
    ensure_registered(env_id)
    envs = gym.make_vec(env_id, num_envs=num_envs, **kwargs)
    mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
    if mode != AutoresetMode.NEXT_STEP:
        envs.close()
        raise UserError(f"{env_id} resets in the mode {mode}", "its vector form has to reset on the next step")
    return envs
