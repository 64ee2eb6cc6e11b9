"""The step of a tabular environment as compiled functions, to be called from compiled learning loops."""

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_checked


@jit_checked
def draw(cumulative: np.ndarray, uniform: float) -> int:
    """The first index whose cumulative probability is above a uniform number.

    Args:
        cumulative: ``[n]``, rising to exactly 1, such as ``table.initial_cumulative``.
        uniform: in [0, 1).
    """
    low, high = 0, cumulative.size - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > uniform:
            high = middle
        else:
            low = middle + 1
    return low


@jit_checked
def step(
    cumulative: np.ndarray,
    next_state: np.ndarray,
    reward: np.ndarray,
    terminated: np.ndarray,
    state: int,
    action: int,
    uniform: float,
) -> tuple[int, float, bool]:
    """One environment step: the next state, the reward, and whether the episode is terminated.

    Time limits and resets are the caller's: ``draw(table.initial_cumulative, uniform)`` is a first state. States and
    actions are not checked: compiled code reads wrong memory beyond the table.

    Args:
        cumulative, next_state, reward, terminated: ``[S, A, K]``, as in
            :class:`~synrl_ray.envs.tabular.TransitionTable`.
        state, action: where and what.
        uniform: in [0, 1); decides the outcome.
    """
    k = 0
    while cumulative[state, action, k] <= uniform:  # few outcomes, and the last one is 1
        k += 1
    return next_state[state, action, k], reward[state, action, k], terminated[state, action, k]
