"""Make environments known to Gymnasium that it does not know by itself."""

from __future__ import annotations

import importlib

import gymnasium as gym

_MODULES = {"synrl_ray/": ("synrl_ray.envs.gridworld_env", "synrl_ray.envs.maze", "synrl_ray.envs.shower")}


def ensure_registered(env_id: str) -> None:
    """Import what registers this id: this project's environments, and Atari's where ale-py is installed."""
    for prefix, modules in _MODULES.items():
        if env_id.startswith(prefix):
            for module in modules:
                importlib.import_module(module)
    if env_id.startswith("ALE/"):
        gym.register_envs(importlib.import_module("ale_py"))
