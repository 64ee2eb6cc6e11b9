"""Make environments known to Gymnasium that it does not know by itself, and say which modules that takes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

_MODULES = {"synrl_ray/": ("synrl_ray.envs.gridworld_env", "synrl_ray.envs.maze", "synrl_ray.envs.shower")}
_KNOWN = ("synrl_ray", "gymnasium", "ale_py")


def ensure_registered(env_id: str) -> None:
    """Import what registers this id: this project's environments, and Atari's where ale-py is installed."""
    for prefix, modules in _MODULES.items():
        if env_id.startswith(prefix):
            for module in modules:
                importlib.import_module(module)
    if env_id.startswith("ALE/"):
        gym.register_envs(importlib.import_module("ale_py"))


def foreign_module(env_id: str, kwargs: Mapping[str, Any] | None = None) -> str | None:
    """The module that is imported to make this environment, unless it is the project's, Gymnasium's or ale-py's.

    Gymnasium imports ``module`` for an id ``module:Id``, and so does old Gym for the keyword argument ``env_id`` of
    Gymnasium's wrappers around it.

    Example:
        >>> foreign_module("my_package.envs:Mine-v0")
        'my_package.envs'
        >>> foreign_module("CartPole-v1") is foreign_module("gymnasium.envs:CartPole-v1") is None
        True
    """
    for name in (env_id, (kwargs or {}).get("env_id")):
        module, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
        if colon and module.partition(".")[0] not in _KNOWN:
            return module
    return None
