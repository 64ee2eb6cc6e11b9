"""Compiled parts of tabular Q-learning, to be called from compiled loops.

Legend: S states, A actions.
"""

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_checked


@jit_checked
def choose(values: np.ndarray, epsilon: float, uniform: float) -> int:
    """An epsilon-greedy action; among equally good ones each is as likely.

    Args:
        values: ``[A]``, action values of one state.
        epsilon: probability of a random action.
        uniform: in [0, 1); decides both whether the action is random and which one it is.
    """
    num_actions = values.size
    if uniform < epsilon:
        return min(int(uniform / epsilon * num_actions), num_actions - 1)
    best, num_best, first = values[0], 1, 0
    for action in range(1, num_actions):
        if values[action] > best:
            best, num_best, first = values[action], 1, action
        elif values[action] == best:
            num_best += 1
    if num_best == 1:
        return first
    skipped = min(int((uniform - epsilon) / (1.0 - epsilon) * num_best), num_best - 1)
    for action in range(first, num_actions):
        if values[action] == best:
            if skipped == 0:
                return action
            skipped -= 1
    return first


@jit_checked
def update(
    q: np.ndarray,
    state: int,
    action: int,
    reward: float,
    terminated: bool,
    next_state: int,
    lr: float,
    gamma: float,
) -> float:
    """Change one action value of ``q [S, A]`` after a transition; the TD error before the change.

    Only a terminated episode has no value after it: a truncated one is bootstrapped.
    """
    target = reward
    if not terminated:
        best = q[next_state, 0]
        for other in range(1, q.shape[1]):
            best = max(best, q[next_state, other])
        target += gamma * best
    error = target - q[state, action]
    q[state, action] += lr * error
    return error


@jit_checked
def choose_all(q: np.ndarray, states: np.ndarray, epsilon: float, uniforms: np.ndarray, actions: np.ndarray) -> None:
    """:func:`choose` in N states; writes ``actions [N]``."""
    for n in range(states.size):
        actions[n] = choose(q[states[n]], epsilon, uniforms[n])


@jit_checked
def update_all(
    q: np.ndarray,
    states: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    terminated: np.ndarray,
    next_states: np.ndarray,
    lr: float,
    gamma: float,
) -> float:
    """:func:`update` for N transitions, one after another; the sum of their absolute TD errors."""
    total = 0.0
    for n in range(states.size):
        error = update(q, states[n], actions[n], rewards[n], terminated[n], next_states[n], lr, gamma)
        total += abs(error)
    return total
