"""Episodes of policies without memory, played from a table.

In a gridworld such a policy is a distribution of actions in each state. It is asked for all of them at once, before the
episodes begin: no network is called in between.

Legend: T environment steps, M tasks, E episodes, S states, A = 4 actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synrl_ray.envs.gridworld import NUM_ACTIONS, Gridworlds


@dataclass(frozen=True, eq=False)
class TableEpisodes:
    """One episode in each column. At the goal it stays there, is paid nothing, and its rows are not valid.

    Attributes:
        states: ``[T, M, E]`` of int64, before each step.
        actions: ``[T, M, E]`` of int64.
        rewards: ``[T, M, E]``, with shaping where there is any.
        valid: ``[T, M, E]`` of bool, the steps of the episode.
        last_states: ``[M, E]`` of int64, after the last step.
        truncated: ``[M, E]`` of bool: the goal was not reached.
        task_returns: ``[M, E]``, sums of rewards without shaping or discount.
    """

    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    valid: np.ndarray
    last_states: np.ndarray
    truncated: np.ndarray
    task_returns: np.ndarray

    @property
    def env_steps(self) -> np.ndarray:
        """Environment steps of each task, ``[M]``."""
        return np.asarray(self.valid.sum(axis=(0, 2)))


def numbers_needed(grids: Gridworlds, num_episodes: int) -> int:
    """Random numbers for each task: one for the first state of an episode, one for each step."""
    return num_episodes * (1 + grids.horizon)


def play(grids: Gridworlds, probabilities: np.ndarray, uniforms: np.ndarray, num_episodes: int) -> TableEpisodes:
    """Play E episodes of each task.

    Args:
        grids: the tasks, on the CPU.
        probabilities: ``[M, S, 4]`` of float64, of actions.
        uniforms: ``[M, numbers_needed(grids, E)]`` in [0, 1); they alone decide what happens.
        num_episodes: E.

    Example:
        >>> grids = Gridworlds.from_cells(np.ones((3, 3), bool), [(0, 2)], [(0, 0)], horizon=4)
        >>> east = np.zeros((1, 9, 4))
        >>> east[..., 1] = 1
        >>> play(grids, east, np.full((1, 5), 0.5), 1).states.ravel()
        array([0, 1, 2, 2])
    """
    num_tasks, horizon = grids.num_tasks, grids.horizon
    drawn = uniforms.reshape(num_tasks, 1 + horizon, num_episodes).transpose(1, 0, 2)
    bounds = np.moveaxis(probabilities.cumsum(axis=-1)[..., :-1], -1, 0).reshape(NUM_ACTIONS - 1, -1)
    leads, paid = grids.next_state.numpy().ravel(), grids.reward.numpy().ravel()
    goals, offsets = grids.goals.numpy()[:, None], np.arange(num_tasks)[:, None] * grids.num_states
    states = np.empty((horizon + 1, num_tasks, num_episodes), np.int64)
    actions = np.empty((horizon, num_tasks, num_episodes), np.int64)
    states[0] = _first_states(grids.initial.numpy(), drawn[0])
    for t in range(horizon):
        rows = offsets + states[t]
        actions[t] = (bounds[:, rows] <= drawn[t + 1]).sum(axis=0)
        states[t + 1] = leads[rows * NUM_ACTIONS + actions[t]]
    cells = (offsets + states[:-1]) * NUM_ACTIONS + actions
    return TableEpisodes(
        states=states[:-1],
        actions=actions,
        rewards=paid[cells],
        valid=states[:-1] != goals,
        last_states=states[-1],
        truncated=states[-1] != goals,
        task_returns=grids.task_reward.numpy().ravel()[cells].sum(axis=0),
    )


def _first_states(initial: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Draws ``[M, E]`` from distributions ``[M, S]`` by numbers ``[M, E]`` in [0, 1)."""
    bounds = initial.cumsum(axis=-1)
    bounds /= bounds[:, -1:]
    return np.asarray((bounds[:, None, :-1] <= drawn[..., None]).sum(axis=-1))
