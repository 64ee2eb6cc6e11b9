"""Many copies of a tabular environment, stepped at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from synrl_ray.envs.tabular import TransitionTable

_NEVER = np.iinfo(np.int64).max


class TabularVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N environments with the dynamics and the time limit of a table.

    Equal in law to ``gymnasium.make_vec`` of the same environment, and equal step by step where nothing is random.
    As there, an environment whose episode has ended is reset by the next step, whatever its action: that row has the
    first observation of the new episode, reward 0 and no end. An episode that is terminated in the last step of the
    time limit is truncated too. ``info`` is empty.

    Shape:
        Actions ``[N]`` of integers → observations ``[N]`` of int64 (or ``[N, ...]``, where the table has
        observations), rewards ``[N]`` of float64, terminated and truncated ``[N]`` of bool.

    Attributes:
        states: ``[N]``, of int64.
        elapsed: ``[N]``, environment steps of the present episodes.

    Example:
        >>> envs = TabularVectorEnv(TransitionTable.from_id("Taxi-v3"), num_envs=1000)
        >>> observations, _ = envs.reset(seed=0)
        >>> observations, rewards, terminated, truncated, _ = envs.step(np.zeros(1000, int))
        >>> rewards.mean()
        np.float64(-1.0)
    """

    def __init__(self, table: TransitionTable, num_envs: int) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}
        self.table, self.num_envs = table, num_envs
        self.single_action_space = spaces.Discrete(table.num_actions)
        self.single_observation_space = table.observation_space or spaces.Discrete(table.num_states)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.states: np.ndarray | None = None
        self.elapsed = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)
        self._limit = _NEVER if table.time_limit is None else table.time_limit
        self._num_outcomes = table.probability.shape[2]
        self._cumulative = table.cumulative.reshape(-1, self._num_outcomes)
        self._next_state, self._reward, self._terminated = (
            array.ravel() for array in (table.next_state, table.reward, table.terminated)
        )

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode everywhere, or where ``options["reset_mask"]`` (``[N]`` of bool) says so.

        A sequence of seeds is as good as one: all environments draw from one generator.
        """
        if isinstance(seed, Sequence):
            self.np_random = np.random.default_rng(np.random.SeedSequence(list(seed)))
        else:
            super().reset(seed=seed)
        mask = None if self.states is None else (options or {}).get("reset_mask")
        where = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        if self.states is None:
            self.states = np.zeros(self.num_envs, np.int64)
        self.states[where] = self._first_states(len(where))
        self.elapsed[where], self._ended[where] = 0, False
        return self._observations(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One environment step of all.

        Raises:
            ValueError: if there are not N actions, or one does not exist.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.states is None:
            raise gym.error.ResetNeeded("reset() the environments before the first step()")
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"{self.num_envs} integers are needed, got actions {actions.dtype}{list(actions.shape)}")
        if actions.min() < 0 or actions.max() >= self.table.num_actions:
            raise ValueError(f"actions must be within 0 and {self.table.num_actions - 1}")
        row = self.states * self.table.num_actions + actions
        if self._num_outcomes > 1:
            drawn = self._cumulative[row] <= self.np_random.random((self.num_envs, 1))
            row = row * self._num_outcomes + drawn.sum(axis=1)
        self.states, rewards, terminated = self._next_state[row], self._reward[row], self._terminated[row]
        self.elapsed += 1
        truncated = self.elapsed >= self._limit
        begin = np.flatnonzero(self._ended)
        if len(begin):
            self.states[begin] = self._first_states(len(begin))
            rewards[begin] = 0.0
            terminated[begin] = truncated[begin] = False
            self.elapsed[begin] = 0
        self._ended = terminated | truncated
        return self._observations(), rewards, terminated, truncated, {}

    def _first_states(self, number: int) -> np.ndarray:
        return np.searchsorted(self.table.initial_cumulative, self.np_random.random(number), side="right")

    def _observations(self) -> np.ndarray:
        assert self.states is not None
        return self.states.copy() if self.table.observations is None else self.table.observations[self.states]
