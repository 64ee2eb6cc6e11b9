r"""Expected returns of tabular environments by dynamic programming: no discount, no sampling noise.

With T steps to go, the value of a policy and the best value are

.. math:: V_T(s) = \langle r + (1 - d)\, V_{T-1}(s') \rangle_{a, s'}, \qquad
          V^*_T(s) = \max_a \langle r + (1 - d)\, V^*_{T-1}(s') \rangle_{s'}, \qquad V_0 = V^*_0 = 0

where :math:`d` says that the episode is terminated. T is the time limit; without one, the limit of growing T.

**Which optimum.** :func:`optimal_value` lets the best action depend on the steps that are left. So it bounds every
policy: Taxi-v3 7.930 (200 steps), FrozenLake-v1 0.7442 (100), FrozenLake8x8-v1 0.9132 (200), CliffWalking-v1 -13.
A policy that sees the state only may fall short of it, also at its best: on the two lakes :func:`best_greedy_policy`
has 0.7402 and 0.8936. Where the time limit binds no good policy (Taxi-v3, CliffWalking-v1, mazes), both are the same.

References:
    Sutton & Barto (2018), Reinforcement Learning: An Introduction, 2nd edition, chapter 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_endless import limit_of_values, reaching
from synrl_ray.errors import UserError

_MAX_SWEEPS = 100_000
_EQUAL = 1e-12
"""Values that differ by less are equal but for rounding."""


def state_values(table: TransitionTable, policy: np.ndarray, time_limit: int | None = None) -> np.ndarray:
    """The expected return from each state, ``[S]``, in units of reward.

    Args:
        table: the environment.
        policy: ``[S]`` of integers, an action for each state; or ``[S, A]``, a distribution of actions for each.
        time_limit: another one than the table's.

    Raises:
        ValueError: if the policy has another shape, an action does not exist, or a row is no distribution.

    Without a time limit, the value is -inf or inf where the policy may go on for ever and be paid for it, and NaN
    where it has no limit.
    """
    reward, matrix = _model(table)
    choice = _choice(table, policy)
    reward, matrix = choice @ reward, choice @ matrix
    horizon = time_limit or table.time_limit
    if horizon is None:
        return limit_of_values(matrix, reward)
    value = np.zeros(table.num_states)
    for _ in range(horizon):
        value = reward + matrix @ value
    return value


def exact_value(table: TransitionTable, policy: np.ndarray, time_limit: int | None = None) -> float:
    """The expected return of a policy over the first states, within the time limit.

    Arguments and errors are those of :func:`state_values`; in addition a :class:`UserError` where there is no time
    limit and the return has no limit.

    Example:
        >>> table = TransitionTable.from_id("FrozenLake-v1")
        >>> round(exact_value(table, np.full((16, 4), 0.25)), 4)
        0.0139
    """
    value = _over_first_states(table, state_values(table, policy, time_limit))
    if np.isnan(value):
        raise UserError(f"the return of this policy on {table.name!r} has no limit", "give a time limit")
    return value


def optimal_value(table: TransitionTable) -> float:
    """The expected return over the first states of the best policy that also sees how many steps are left.

    Raises:
        UserError: if there is no time limit and values do not converge.
    """
    return _over_first_states(table, optimal_state_values(table))


def optimal_state_values(table: TransitionTable) -> np.ndarray:
    """The best expected return from each state with the whole time limit to go, ``[S]``; errors as
    :func:`optimal_value`. Without a time limit, NaN where no first state leads."""
    for action_values in _sweeps(table):  # noqa: B007 (the last one is wanted)
        pass
    value = action_values.max(axis=1)
    return value if table.time_limit else np.where(_reachable(table), value, np.nan)


def best_greedy_policy(table: TransitionTable) -> tuple[np.ndarray, float]:
    """The best of the policies that are greedy with regard to some sweep of value iteration, and its exact value.

    They see the state only. All sweeps are tried, not just the last: without discount its values may be equal where
    waiting costs nothing, and a policy that is greedy there may wait for ever. For the same reason each sweep is tried
    twice: with the first of equally good actions, and with that of the sweep before where it still is one of them,
    which is the one that brought the value there. To find the best of all stationary policies within a time limit is
    a harder problem; this is a lower bound on it.

    Returns:
        Actions ``[S]`` and their :func:`exact_value`.

    Raises:
        UserError: as :func:`optimal_value`.
    """
    best, best_value = np.zeros(table.num_states, np.int64), -np.inf
    seen, kept, states = set(), best, np.arange(table.num_states)
    for action_values in _sweeps(table):
        policy = action_values.argmax(axis=1)
        as_good = action_values[states, kept] >= action_values.max(axis=1) - _EQUAL
        kept = np.where(as_good, kept, policy)
        for tried in (policy, kept):
            if (key := tried.tobytes()) in seen:
                continue
            seen.add(key)
            value = _over_first_states(table, state_values(table, tried))
            if value > best_value:  # never for NaN
                best, best_value = tried, value
    return best, best_value


def _sweeps(table: TransitionTable) -> Iterator[np.ndarray]:
    """Value iteration from 0: the action values ``[S, A]`` with 1, 2, ... steps to go."""
    reward, matrix = _model(table)
    value = np.zeros(table.num_states)
    watched = _reachable(table)
    for _ in range(table.time_limit or _MAX_SWEEPS):
        action_values = (reward + matrix @ value).reshape(table.num_states, table.num_actions)
        yield action_values
        before, value = value, action_values.max(axis=1)
        change = np.abs(value - before)[watched].max()
        if table.time_limit is None and change <= 1e-13 * max(1.0, np.abs(value[watched]).max()):
            return
    if table.time_limit is None:
        raise UserError(f"the best return on {table.name!r} does not converge", "give a time limit")


def _model(table: TransitionTable) -> tuple[np.ndarray, Any]:
    """Expected reward ``[S*A]``, and the probabilities ``[S*A, S]`` of going on in a state."""
    size = table.num_states * table.num_actions
    outcomes = table.probability.shape[2]
    goes_on = np.where(table.terminated, 0.0, table.probability).ravel()
    rows = np.repeat(np.arange(size), outcomes)
    matrix = sparse.csr_array((goes_on, (rows, table.next_state.ravel())), shape=(size, table.num_states))
    matrix.eliminate_zeros()
    return (table.probability * table.reward).sum(axis=-1).ravel(), matrix


def _choice(table: TransitionTable, policy: np.ndarray) -> Any:
    """A policy as the sparse matrix ``[S, S*A]`` that averages over actions."""
    num_states, num_actions = table.num_states, table.num_actions
    policy, states = np.asarray(policy), np.arange(num_states)
    shape = (num_states, num_states * num_actions)
    if policy.shape == (num_states,) and np.issubdtype(policy.dtype, np.integer):
        if policy.min() < 0 or policy.max() >= num_actions:
            raise ValueError(f"a policy for {table.name!r} has actions within 0 and {num_actions - 1}")
        return sparse.csr_array((np.ones(num_states), (states, states * num_actions + policy)), shape=shape)
    if policy.shape != (num_states, num_actions):
        wanted = f"[{num_states}] of integers, or [{num_states}, {num_actions}]"
        raise ValueError(f"a policy for {table.name!r} is {wanted}; got {policy.dtype}{list(policy.shape)}")
    if not ((policy >= 0).all() and np.allclose(policy.sum(axis=1), 1, rtol=0, atol=1e-6)):
        raise ValueError(f"a policy for {table.name!r} needs distributions of actions in its rows")
    columns = np.arange(num_states * num_actions)
    choice = sparse.csr_array((policy.ravel().astype(np.float64), (np.repeat(states, num_actions), columns)), shape)
    choice.eliminate_zeros()
    return choice


def _reachable(table: TransitionTable) -> np.ndarray:
    """``[S]``: whether some policy leads there from a first state."""
    _, matrix = _model(table)
    states = np.repeat(np.arange(table.num_states), table.num_actions)
    any_action = sparse.csr_array((np.ones(len(states)), (states, np.arange(len(states)))))
    return reaching((any_action @ matrix).T.tocsr(), table.initial > 0)


def _over_first_states(table: TransitionTable, value: np.ndarray) -> float:
    first = table.initial > 0  # elsewhere a value may be infinite
    return float(table.initial[first] @ value[first])
