r"""Advantages of episodes, summed by state and action: all that a policy gradient needs of them.

.. math::
    \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t), \qquad A_t = \sum_k (\gamma\lambda)^k \delta_{t+k}, \qquad
    \sum_t A_t \log\pi(a_t | s_t) = \sum_{s, a} C(s, a) \log\pi(a | s)

with :math:`C(s, a)` the sum of advantages wherever a was done in s. A network that gives :math:`\pi` then sees S
states, however many steps were played. The baseline V is the mean return of each state, drawn towards 0 where visits
are few (ridge regression on the one-hot state).

Legend: T environment steps, M tasks, E episodes, S states.

References:
    Schulman, Moritz, Levine, Jordan & Abbeel (2016), arXiv:1506.02438: generalised advantage estimation.
    Duan et al. (2016), arXiv:1604.06778: baselines fitted to the episodes themselves, as MAML's are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synrl_ray.envs.gridworld import NUM_ACTIONS
from synrl_ray.meta.episodes import TableEpisodes

_RIDGE = 1.0
"""Visits with a return of 0 that each state starts with."""
_SPREAD_FLOOR = 0.1
"""Added to a task's standard deviation, in units of return: where nothing differs, noise is not made large."""


@dataclass(frozen=True, eq=False)
class AdvantageTable:
    """Of M tasks. Advantages are centred, divided by their spread, and averaged over the task's steps.

    Attributes:
        gains: ``[M, S, 4]``, sums of the positive ones.
        losses: ``[M, S, 4]``, sums of the negative ones, which clipped losses treat differently.
        visits: ``[M, S]``, share of the steps in each state.
    """

    gains: np.ndarray
    losses: np.ndarray
    visits: np.ndarray


def advantage_table(episodes: TableEpisodes, num_states: int, discount: float, gae_lambda: float) -> AdvantageTable:
    """Sum the normalised advantages of each task by state and action."""
    valid, num_tasks = episodes.valid, episodes.valid.shape[1]
    values = state_values(episodes, num_states, discount)
    raw = advantages(episodes, values, discount, gae_lambda)
    count = episodes.env_steps
    centred = (raw - (raw.sum(axis=(0, 2)) / count)[None, :, None]) * valid
    spread = np.sqrt(np.square(centred).sum(axis=(0, 2)) / count)
    scaled = centred / ((spread + _SPREAD_FLOOR) * count)[None, :, None]
    rows = _rows(episodes.states, num_states)
    cells = (rows * NUM_ACTIONS + episodes.actions).ravel()

    def summed(weights: np.ndarray) -> np.ndarray:
        total = np.bincount(cells, weights.ravel(), minlength=num_tasks * num_states * NUM_ACTIONS)
        return total.reshape(num_tasks, num_states, NUM_ACTIONS)

    visits = np.bincount(rows[valid], minlength=num_tasks * num_states).reshape(num_tasks, num_states)
    return AdvantageTable(summed(scaled.clip(min=0)), summed(scaled.clip(max=0)), visits / count[:, None])


def state_values(episodes: TableEpisodes, num_states: int, discount: float) -> np.ndarray:
    """The baseline: mean discounted return from each state, ``[M, S]``."""
    returns = np.empty_like(episodes.rewards)
    ahead = np.zeros(episodes.rewards.shape[1:])
    for t in reversed(range(len(returns))):
        returns[t] = ahead = episodes.rewards[t] + discount * ahead
    valid, size = episodes.valid, episodes.valid.shape[1] * num_states
    rows = _rows(episodes.states, num_states)[valid]
    total = np.bincount(rows, returns[valid], minlength=size)
    return np.asarray(total / (np.bincount(rows, minlength=size) + _RIDGE)).reshape(-1, num_states)


def advantages(episodes: TableEpisodes, values: np.ndarray, discount: float, gae_lambda: float) -> np.ndarray:
    """Generalised advantages ``[T, M, E]`` by values ``[M, S]``; 0 in rows that are not valid.

    Truncated episodes are continued by the value of their last state.
    """
    flat, num_states = values.ravel(), values.shape[1]
    now = flat[_rows(episodes.states, num_states)] * episodes.valid
    ahead = flat[_rows(episodes.last_states, num_states)] * episodes.truncated
    found = np.empty_like(episodes.rewards)
    trace = np.zeros_like(ahead)
    for t in reversed(range(len(found))):
        surprise = episodes.rewards[t] + discount * ahead - now[t]
        found[t] = trace = (surprise + discount * gae_lambda * trace) * episodes.valid[t]
        ahead = now[t]
    return found


def _rows(states: np.ndarray, num_states: int) -> np.ndarray:
    """Where flat tables ``[M * S]`` keep states ``[..., M, E]``."""
    return states + np.arange(states.shape[-2])[:, None] * num_states
