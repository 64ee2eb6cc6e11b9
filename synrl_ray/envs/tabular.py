"""Environments whose dynamics are a table: every transition with its probability, as arrays.

Legend: S states, A actions, K outcomes of one action (the most that any has; the others are padded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError, reason_of

_REMEDY = "tables are read from P[s][a] = [(probability, next state, reward, terminated), ...], as toy-text has it"


@dataclass(frozen=True, eq=False)
class TransitionTable:
    """A finite Markov decision process.

    A copy with other rewards asks another question: with ``dataclasses.replace(table, reward=table.terminated * 1.0)``
    expected returns become the probability that an episode is terminated within the time limit.

    Attributes:
        probability: ``[S, A, K]``; padded outcomes have probability 0.
        next_state: ``[S, A, K]``, integers.
        reward: ``[S, A, K]``.
        terminated: ``[S, A, K]``, of bool.
        initial: ``[S]``, the distribution of the first state.
        time_limit: environment steps after which an episode is truncated; ``None`` for never.
        name: of the environment, for messages.
        observations: ``[S, ...]``, what is seen in each state; ``None`` where the state itself is seen.
        observation_space: of a single environment; ``None`` for ``Discrete(S)``.

    Raises:
        UserError: if shapes do not fit, a distribution does not sum to 1, a next state does not exist, or a reward is
            not finite; names the environment and the first state and action.

    Example:
        >>> table = TransitionTable.from_id("FrozenLake-v1", {"is_slippery": True})
        >>> table.probability.shape, table.time_limit
        ((16, 4, 3), 100)
    """

    probability: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    initial: np.ndarray
    time_limit: int | None = None
    name: str = "the environment"
    observations: np.ndarray | None = None
    observation_space: spaces.Space | None = None

    def __post_init__(self) -> None:
        shape = self.probability.shape
        if len(shape) != 3 or 0 in shape or len(self.initial) != shape[0]:
            raise self._error(f"has probabilities of shape {shape} and {len(self.initial)} first states")
        if {self.next_state.shape, self.reward.shape, self.terminated.shape} != {shape}:
            raise self._error("has arrays of several shapes")
        if self.time_limit is not None and self.time_limit < 1:
            raise self._error(f"has the time limit {self.time_limit}")
        if (self.observations is None) != (self.observation_space is None) or (
            self.observations is not None and len(self.observations) != shape[0]
        ):
            raise self._error("needs one observation for each state, and their space")
        self._refuse_where(~_is_distribution(self.probability), "probabilities that are no distribution")
        self._refuse_where(((self.next_state < 0) | (self.next_state >= shape[0])).any(-1), "an unknown next state")
        self._refuse_where(~np.isfinite(self.reward).all(-1), "a reward that is not finite")
        if not _is_distribution(self.initial):
            raise self._error("has probabilities of first states that are no distribution")

    def _error(self, problem: str) -> UserError:
        return UserError(f"the transition table of {self.name!r} {problem}", _REMEDY)

    def _refuse_where(self, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            state, action = np.argwhere(wrong)[0]
            raise self._error(f"has {what} in state {state}, action {action}")

    @property
    def num_states(self) -> int:
        """S."""
        return self.probability.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.probability.shape[1]

    @cached_property
    def cumulative(self) -> np.ndarray:
        """``[S, A, K]``: the outcome of a uniform number in [0, 1) is the first whose entry is above it."""
        return _cumulative(self.probability)

    @cached_property
    def initial_cumulative(self) -> np.ndarray:
        """``[S]``: the first state of a uniform number in [0, 1) is the first whose entry is above it."""
        return _cumulative(self.initial)

    @classmethod
    def from_id(cls, env_id: str, kwargs: Mapping[str, Any] | None = None) -> TransitionTable:
        """The table of a registered environment, made with ``kwargs``; with ``max_episode_steps`` for another limit.

        Raises:
            UserError: if it cannot be made, or as :meth:`from_env`.
        """
        env = make_environment(env_id, kwargs)
        try:
            return cls.from_env(env, name=env_id)
        finally:
            env.close()

    @classmethod
    def from_env(cls, env: gym.Env, name: str | None = None) -> TransitionTable:
        """The table of an environment, as it is now.

        Read are ``P`` and ``initial_state_distrib``, as Gymnasium's toy-text environments have them; the time limit of
        ``TimeLimit`` wrappers; and where the environment has them, ``time_limit`` (one that it keeps itself) and
        ``state_observations`` ``[S, ...]`` (what it shows instead of the state).

        Args:
            env: wrapped or not.
            name: for messages; its id by default.

        Raises:
            UserError: if it has no table or its spaces are not Discrete, if a wrapper changes observations, actions
                or rewards, or if its dynamics are more than its table.
        """
        core = env.unwrapped
        name = name or (env.spec.id if env.spec else type(core).__name__)
        limits = [*_time_limits(env, name), getattr(core, "time_limit", None)]
        observations = getattr(core, "state_observations", None)
        table, initial = getattr(core, "P", None), getattr(core, "initial_state_distrib", None)
        if table is None or initial is None:
            missing = "transition table P" if table is None else "distribution of first states, initial_state_distrib"
            raise UserError(f"environment {name!r} has no {missing}", _REMEDY)
        num_actions = _size(env.action_space, name, "action")
        num_states = len(initial) if observations is not None else _size(env.observation_space, name, "observation")
        if getattr(core, "fickle_passenger", False):  # Taxi changes the destination outside its table
            problem = f"environment {name!r} does more than its transition table"
            raise UserError(problem, "let environment.kwargs say fickle_passenger false")
        probability, next_state, reward, terminated = _arrays(table, num_states, num_actions, name)
        return cls(
            probability,
            next_state,
            reward,
            terminated,
            initial=np.asarray(initial, np.float64),
            time_limit=min((limit for limit in limits if limit is not None), default=None),
            name=name,
            observations=observations,
            observation_space=None if observations is None else env.observation_space,
        )


def _is_distribution(probability: np.ndarray) -> np.ndarray:
    return (probability >= 0).all(-1) & (np.abs(probability.sum(-1) - 1) < 1e-9)


def _cumulative(probability: np.ndarray) -> np.ndarray:
    """Sums along the last axis; exactly 1 from the last possible entry on, so that rounding reaches no padding."""
    cumulative = np.cumsum(probability, axis=-1)
    size = probability.shape[-1]
    last = size - 1 - np.argmax(probability[..., ::-1] > 0, axis=-1)
    cumulative[np.arange(size) >= last[..., None]] = 1.0
    return cumulative


def _size(space: gym.Space, name: str, kind: str) -> int:
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise UserError(f"environment {name!r} has the {kind} space {space}", "a table needs Discrete(n, start=0)")
    return int(space.n)


def _time_limits(env: gym.Env, name: str) -> list[int]:
    """The limits of all ``TimeLimit`` wrappers, from the outside in."""
    limits = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, (gym.ObservationWrapper, gym.ActionWrapper, gym.RewardWrapper)):
            raise UserError(f"environment {name!r} is wrapped in {type(env).__name__}", "a table knows nothing of it")
        if isinstance(env, gym.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return limits


def _arrays(table: Any, num_states: int, num_actions: int, name: str) -> list[np.ndarray]:
    """``P`` as probability, next state, reward and terminated, each ``[S, A, K]``."""
    try:
        rows = [list(table[s][a]) for s in range(num_states) for a in range(num_actions)]
        size = max(map(len, rows))
        padding = (0.0, 0, 0.0, True)
        padded = [[*row, *[padding] * (size - len(row))] for row in rows]
        columns = np.array([[tuple(map(float, outcome)) for outcome in row] for row in padded], np.float64)
        probability, next_state, reward, terminated = np.moveaxis(columns, -1, 0)
        if not (next_state == np.floor(next_state)).all():
            raise ValueError("a next state is no whole number")
    except (LookupError, TypeError, ValueError) as error:
        reason = reason_of(error, named=True)
        raise UserError(f"the transition table of {name!r} cannot be read ({reason})", _REMEDY) from error
    shape = (num_states, num_actions, size)
    arrays = (probability, next_state.astype(np.int64), reward, terminated != 0)
    return [np.ascontiguousarray(array).reshape(shape) for array in arrays]
