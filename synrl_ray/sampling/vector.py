"""Vectorised environments for sampling."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.registration import ensure_registered
from synrl_ray.errors import UserError, reason_of
from synrl_ray.settings.preprocessing import AtariFrames, Preprocessing

PREPROCESSING = "preprocessing"


def make_vector(env_id: str, env_config: Mapping[str, Any], num_envs: int, num_threads: int = 1) -> VectorEnv:
    """N environments for training that step together: the environment's own vectorised form where it has one.

    Args:
        env_id: registered id, or ``module:Id``.
        env_config: keyword arguments of ``gymnasium.make``, as is RLlib's use; under :data:`PREPROCESSING` there may
            be an :class:`~synrl_ray.settings.preprocessing.AtariFrames` or its like for CarRacing.
        num_envs: N.
        num_threads: that Atari games, which need no Python, may be played in.

    Raises:
        UserError: if it does not reset on the step after an episode's end, as the runner expects.
    """
    ensure_registered(env_id)
    kwargs = dict(env_config)
    preprocessing: Preprocessing | None = kwargs.pop(PREPROCESSING, None)
    if isinstance(preprocessing, AtariFrames) and not kwargs:
        from synrl_ray.envs.atari import make_atari_vector

        return make_atari_vector(env_id, preprocessing, num_envs, num_threads)
    if preprocessing is not None or not _suits_vector_form(kwargs) or not _has_vector_form(env_id):
        make = partial(make_environment, env_id, kwargs, preprocessing, training=True)
        envs: Any = SyncVectorEnv([make] * num_envs)
        envs.reports_episodes = isinstance(preprocessing, AtariFrames)  # whole games, of which lives are episodes
        return cast(VectorEnv, envs)
    try:
        envs = gym.make_vec(env_id, num_envs=num_envs, **kwargs)
    except TypeError as error:
        problem = f"the vector form of {env_id} cannot be made ({reason_of(error)})"
        raise UserError(problem, "leave out the arguments that it does not take") from error
    mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
    if mode != AutoresetMode.NEXT_STEP:
        envs.close()
        raise UserError(f"{env_id} resets in the mode {mode}", "its vector form has to reset on the next step")
    return envs


def _suits_vector_form(kwargs: Mapping[str, Any]) -> bool:
    """Whether Gymnasium's vector forms take them as ``gymnasium.make`` does: not its own, nor a time limit of none."""
    limit = kwargs.get("max_episode_steps", 1)
    return "disable_env_checker" not in kwargs and isinstance(limit, int) and limit > 0


def _has_vector_form(env_id: str) -> bool:
    """Whether the environment is registered with one; of an unknown one, so that ``gymnasium.make_vec`` refuses it."""
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    spec = gym.registry.get(name)
    return spec is None or spec.vector_entry_point is not None
