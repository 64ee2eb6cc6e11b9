"""Environments of several tasks that are stepped together: in numpy where they allow it, one by one where not.

Legend: N environments.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils.seeding import np_random

from synrl_ray.envs.batched import BatchedEnv, OneOfBatch
from synrl_ray.envs.checked import describe
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.time_limit import time_limit
from synrl_ray.envs.together import is_as_written
from synrl_ray.errors import UserError

Place = Literal["keyword", "attribute", "option"]
"""How a parameter reaches its environment."""
OPTION = "options."
"""Before the name of an option of ``reset``."""


class TaskEnvs(ABC):
    """N environments, each set to a task; observations are vectors of float32."""

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start an episode in each; observations ``[N, D]``."""

    @abstractmethod
    def step(self, actions: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of those that are running.

        Args:
            actions: ``[N, ...]``.
            running: ``[N]`` of bool.

        Returns:
            Observations ``[N, D]``, rewards ``[N]`` (0 where none is running), and what has ended ``[N]``.
        """

    def close(self) -> None:  # noqa: B027  (those in numpy hold nothing)
        """End the environments."""


class _Together(TaskEnvs):
    def __init__(self, envs: BatchedEnv, time_limit: int | None) -> None:
        self._envs, self._limit, self._steps = envs, time_limit, 0

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        self._steps = 0
        return self._envs.reset(np_random(seed)[0] for seed in seeds)

    def step(self, actions: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self._steps += 1
        seen, rewards, terminated = self._envs.step(actions, running)
        return seen, rewards, terminated if self._steps != self._limit else running


class _OneByOne(TaskEnvs):
    def __init__(self, envs: Sequence[gym.Env], options: Sequence[dict[str, Any] | None], env_id: str) -> None:
        self._envs, self._options, self._id = envs, options, env_id
        self._seen = np.zeros((len(envs), vector_size(envs[0].observation_space, env_id)), np.float32)

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        for row, (env, seed, options) in enumerate(zip(self._envs, seeds, self._options, strict=True)):
            self._seen[row] = self._vector(env, env.reset(seed=seed, options=options)[0])
        return self._seen.copy()

    def step(self, actions: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards, ended = np.zeros(len(self._envs)), np.zeros(len(self._envs), np.bool_)
        for row in np.flatnonzero(running).tolist():
            env = self._envs[row]
            seen, rewards[row], terminated, truncated, _ = env.step(actions[row])
            self._seen[row], ended[row] = self._vector(env, seen), terminated or truncated
        if not (np.isfinite(self._seen).all() and np.isfinite(rewards).all()):
            raise UserError(f"environment {self._id!r} gave NaN or infinity", "narrow the ranges of the parameters")
        return self._seen.copy(), rewards, ended

    def close(self) -> None:
        for env in self._envs:
            env.close()

    @staticmethod
    def _vector(env: gym.Env, observation: Any) -> np.ndarray:
        if isinstance(env.observation_space, spaces.Discrete):
            hot = np.zeros(int(env.observation_space.n), np.float32)
            hot[int(observation) - int(env.observation_space.start)] = 1
            return hot
        return np.asarray(observation, np.float32).ravel()


def vector_size(space: gym.Space, env_id: str) -> int:
    """Numbers of an observation as a vector: those of a Box, or one of n of a Discrete.

    Raises:
        UserError: for other observations.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box) and space.shape is not None and len(space.shape) <= 1:
        return int(np.prod(space.shape))
    problem = (
        f"observations of {env_id} are {type(space).__name__}{space.shape or ''}, meta-learned policies see vectors"
    )
    raise UserError(problem, "wrap them into a vector")


def places_of(env: gym.Env, env_id: str, names: Sequence[str]) -> dict[str, Place]:
    """How each parameter reaches such an environment: keywords of its class go before attributes.

    Raises:
        UserError: for a parameter that it does not have.
    """
    keywords, found = _keywords(env), {}
    for name in names:
        if name.startswith(OPTION):
            found[name] = "option"
        elif name in keywords:
            found[name] = "keyword"
        elif _is_free(name) and hasattr(env.unwrapped, name) and not callable(getattr(env.unwrapped, name)):
            found[name] = "attribute"
        else:
            numbers = (
                key for key, value in vars(env.unwrapped).items() if type(value) in (int, float) and key[0] != "_"
            )
            known = ", ".join(sorted({*keywords, *numbers} - {"render_mode"}))
            problem = f"environment {env_id!r} has no parameter {name!r}"
            raise UserError(problem, f"choose from {known}, or write options.NAME for an option of its reset")
    return found  # type: ignore[return-value]


def _is_free(name: str) -> bool:
    """Not what Gymnasium's interface has given a meaning, nor what is hidden."""
    return not (name.startswith("_") or hasattr(gym.Env, name) or name in gym.Env.__annotations__)


def make_task_envs(
    env_id: str, kwargs: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], places: Mapping[str, Place], copies: int
) -> TaskEnvs:
    """``copies`` environments for each task, side by side.

    Args:
        env_id, kwargs: as ``gymnasium.make`` takes them.
        tasks: parameters and values of each.
        places: how these reach the environment.
        copies: of each task.

    Raises:
        UserError: for an environment that cannot be set to a task.
    """
    with closing(make_environment(env_id, kwargs)) as first:
        alone, limit, as_written = first.unwrapped, time_limit(first), is_as_written(first, "batched")
    if as_written and isinstance(alone, OneOfBatch) and set(places.values()) <= {"keyword"}:
        shared = {name: kwargs[name] for name in kwargs if name in alone.batched.parameters}
        if {*places} <= {*alone.batched.parameters}:
            columns = {name: np.repeat([_as_number(task[name], name) for task in tasks], copies) for name in places}
            limits = [each for each in (alone.time_limit, limit) if each is not None]
            return _Together(alone.batched(len(tasks) * copies, {**shared, **columns}), min(limits, default=None))
    envs, options = [], []
    for task in tasks:
        by_place: dict[str, dict[str, Any]] = {"keyword": {}, "attribute": {}, "option": {}}
        for name, value in task.items():
            by_place[places[name]][name.removeprefix(OPTION)] = value
        for _ in range(copies):
            env = make_environment(env_id, {**kwargs, **by_place["keyword"]})
            for name, value in by_place["attribute"].items():
                try:
                    setattr(env.unwrapped, name, value)
                except Exception as error:
                    problem = f"{name} = {value} cannot be set in {env_id} ({describe(error)})"
                    raise UserError(problem, "choose other values, or another parameter") from error
            envs.append(env)
            options.append(by_place["option"] or None)
    return _OneByOne(envs, options, env_id)


def _as_number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{name} = {value!r:.40} is no number", "let the tasks give numbers") from error


def _keywords(env: gym.Env) -> set[str]:
    """Named arguments of what makes an environment."""
    entry = None if env.spec is None else env.spec.entry_point
    if entry is None:
        return set()
    make = load_env_creator(entry) if isinstance(entry, str) else entry
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name for name, parameter in inspect.signature(make).parameters.items() if parameter.kind in kinds}
