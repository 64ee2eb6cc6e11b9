"""Environments that are stepped many at once in numpy, each with parameters of its own; and one of them for Gymnasium.

Legend: N environments, S numbers of a state, D of an observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.time_limit import require_time_limit
from synrl_ray.errors import UserError


class BatchedEnv(ABC):
    """N environments whose parameters differ.

    Args:
        num_envs: N.
        given: name → ``[N]``; what is not given has its default.

    Raises:
        UserError: for a parameter that is not finite, or not positive where it has to be.

    Attributes:
        state: ``[N, S]``.
        p: every parameter, ``[N]``.
    """

    parameters: ClassVar[Mapping[str, float]]
    """Name → default."""
    positive: ClassVar[tuple[str, ...]] = ()
    """Those that are above 0."""
    observation_space: ClassVar[spaces.Space]
    action_space: ClassVar[spaces.Space]

    def __init__(self, num_envs: int, given: Mapping[str, np.ndarray]) -> None:
        self.p = {
            name: np.broadcast_to(np.asarray(given.get(name, default), np.float64), (num_envs,))
            for name, default in self.parameters.items()
        }
        for name, values in self.p.items():
            wrong = ~np.isfinite(values) | ((values <= 0) & (name in self.positive))
            if wrong.any():
                allowed = "positive" if name in self.positive else "finite"
                raise UserError(f"{name}={values[wrong][0]:g} is not {allowed}", f"choose a {allowed} number")
        self.num_envs, self.state = num_envs, np.zeros((num_envs, 0))

    def reset(self, generators: Iterable[np.random.Generator]) -> np.ndarray:
        """Start an episode in each, by random numbers of its own; observations ``[N, D]``."""
        self.state = self.initial_states(generators)
        return self.observations()

    def step(self, actions: np.ndarray, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of those whose episode goes on; the others stay where they are and are paid nothing.

        Args:
            actions: ``[N, ...]``.
            running: ``[N]`` of bool.

        Returns:
            Observations ``[N, D]``, rewards ``[N]``, and where an episode has terminated ``[N]``.
        """
        state, rewards, terminated = self.advanced(actions)
        self.state = np.where(running[:, None], state, self.state)
        return self.observations(), rewards * running, terminated & running

    @abstractmethod
    def initial_states(self, generators: Iterable[np.random.Generator]) -> np.ndarray:
        """``[N, S]``, each drawn by its own generator."""

    @abstractmethod
    def observations(self) -> np.ndarray:
        """What is seen of the states, ``[N, D]``."""

    @abstractmethod
    def advanced(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States ``[N, S]`` after a step, its rewards ``[N]``, and which are terminal ``[N]``."""


class OneOfBatch(gym.Env[np.ndarray, Any]):
    """One such environment by itself: the same dynamics, with N = 1.

    Args:
        parameters: by name.
        time_limit: environment steps after which an episode is truncated; ``None`` for never.
        render_mode: none is supported.

    Raises:
        UserError: for a parameter that it cannot have, or a time limit below 1.
    """

    batched: ClassVar[type[BatchedEnv]]
    """Of many such environments."""

    def __init__(self, parameters: Mapping[str, float], time_limit: int | None, render_mode: str | None) -> None:
        require_time_limit(time_limit)
        self.env = self.batched(1, {name: np.array([value]) for name, value in parameters.items()})
        self.observation_space, self.action_space = self.env.observation_space, self.env.action_space
        self.time_limit, self.render_mode, self.steps = time_limit, render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode."""
        super().reset(seed=seed)
        self.steps = 0
        return self.env.reset([self.np_random])[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Take one step."""
        self.steps += 1
        observations, rewards, terminated = self.env.step(np.asarray(action)[None], np.ones(1, np.bool_))
        truncated = self.time_limit is not None and self.steps >= self.time_limit
        return observations[0], float(rewards[0]), bool(terminated[0]), truncated, {}
