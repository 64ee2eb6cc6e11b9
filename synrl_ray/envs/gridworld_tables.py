r"""Moves and rewards of gridworlds as arrays, for any number of tasks.

A move is paid :math:`r = R\,[s' = g] - c`: the goal's reward on reaching it, less the cost of a move. With shaping, in
addition

.. math:: F(s, s') = \gamma\,\Phi(s') - \Phi(s), \qquad \Phi(s) = -d(s) / \sigma, \qquad \Phi(g) = 0

where d is the number of moves on a shortest path to the goal. Along an episode that reaches the goal the discounted sum
of F is :math:`-\Phi(s_0)` whatever the path. An episode that is truncated after H moves keeps
:math:`\gamma^H \Phi(s_H) \le 0` more, so truncation looks worse, never better: wherever the goal is within reach, best
policies stay the best, and their value is that without shaping less :math:`\Phi(s_0)`.

Legend: M tasks, R rows, C columns, S = R * C states, 4 moves.

References:
    Ng, Harada & Russell (1999), Policy invariance under reward transformations, ICML, theorem 1.
    Grzes (2017), Reward shaping in episodic reinforcement learning, AAMAS, on the potential where episodes end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synrl_ray.envs.gridworld_layout import cell_state, distances, next_states
from synrl_ray.envs.maze_layout import Cell
from synrl_ray.errors import UserError


@dataclass(frozen=True)
class GridworldRewards:
    """What moves are paid, in units of reward.

    Attributes:
        goal_reward: on reaching the goal; positive.
        step_cost: of each move; not negative.
        shaping_scale: moves that are worth one unit of potential; ``None`` for no shaping.
        shaping_discount: that of the learner, for it alone does shaping leave best policies as they are.

    Raises:
        UserError: if one of them is out of range.
    """

    goal_reward: float = 1.0
    step_cost: float = 0.01
    shaping_scale: float | None = None
    shaping_discount: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.goal_reward < math.inf and 0 <= self.step_cost < math.inf):
            amounts = f"goal_reward={self.goal_reward}, step_cost={self.step_cost}"
            problem = f"rewards of the gridworld are out of range ({amounts})"
            raise UserError(problem, "the goal's is positive, the cost not negative")
        if self.shaping_scale is not None and not 0 < self.shaping_scale < math.inf:
            raise UserError(f"shaping_scale={self.shaping_scale} is no scale", "choose a positive number of moves")
        if not 0 < self.shaping_discount <= 1:
            raise UserError(f"shaping_discount={self.shaping_discount} is no discount", "choose one in (0, 1]")


@dataclass(frozen=True, eq=False)
class GridworldTables:
    """The dynamics of M gridworlds. Goals and obstacles lead to themselves and are paid nothing.

    Attributes:
        free: ``[M, R, C]`` of bool.
        goals: ``[M]`` of int64, states.
        next_state: ``[M, S, 4]`` of int64.
        task_reward: ``[M, S, 4]`` of float64, without shaping.
        reward: ``[M, S, 4]`` of float64, with it where there is any.
        initial: ``[M, S]`` of float64, the distribution of the first state.
        distance: ``[M, S]`` of int64, moves to the goal; -1 in obstacles.
    """

    free: np.ndarray
    goals: np.ndarray
    next_state: np.ndarray
    task_reward: np.ndarray
    reward: np.ndarray
    initial: np.ndarray
    distance: np.ndarray


def build_tables(
    free: np.ndarray, goals: Sequence[Cell], starts: Sequence[Cell] | None, rewards: GridworldRewards
) -> GridworldTables:
    """The tables of M gridworlds.

    Args:
        free: ``[M, R, C]`` of bool, or ``[R, C]`` for the same obstacles in all tasks.
        goals: M cells.
        starts: M cells; ``None`` for any free cell but the goal, equally likely.
        rewards: what moves are paid.

    Raises:
        UserError: for counts that differ, a cell outside or in an obstacle, a start that is the goal, or a free cell
            that does not reach it.
    """
    free = np.broadcast_to(free, (len(goals), *free.shape)).copy() if free.ndim == 2 else free
    if len(goals) == 0 or len(free) != len(goals) or (starts is not None and len(starts) != len(goals)):
        counts = f"{len(free)} grids, {len(goals)} goals" + ("" if starts is None else f", {len(starts)} starts")
        raise UserError(f"gridworlds have {counts}", "give one of each for every task")
    goal = np.array([cell_state(cell, grid, "goal") for cell, grid in zip(goals, free, strict=True)])
    leads = next_states(free)
    distance = distances(leads, goal)
    is_free, tasks = free.reshape(len(goal), -1), np.arange(len(goal))
    if (is_free & (distance < 0)).any():
        task, state = np.argwhere(is_free & (distance < 0))[0].tolist()
        where = f"from {divmod(state, free.shape[2])} to the goal {tuple(goals[task])}"
        raise UserError(f"gridworld {task} has no path {where}", "open a cell between them, or close that one")
    final = ~is_free
    final[tasks, goal] = True
    states = np.arange(is_free.shape[1])
    leads = np.where(final[..., None], states[:, None], leads)
    arrives = leads == goal[:, None, None]
    task_reward = np.where(final[..., None], 0.0, rewards.goal_reward * arrives - rewards.step_cost)
    reward = task_reward
    if rewards.shaping_scale is not None:
        potential = -distance / rewards.shaping_scale
        ahead = potential[tasks[:, None, None], leads]
        bonus = rewards.shaping_discount * ahead - potential[..., None]
        reward = np.where(final[..., None], 0.0, task_reward + bonus)
    initial = _first_states(free, ~final, goal, starts)
    return GridworldTables(free, goal, leads, task_reward, reward, initial, distance)


def _first_states(free: np.ndarray, open_: np.ndarray, goal: np.ndarray, starts: Sequence[Cell] | None) -> np.ndarray:
    """``[M, S]``; ``open_`` says which states are neither a goal nor an obstacle."""
    if starts is None:
        if not open_.any(axis=1).all():
            raise UserError("a gridworld has no free cell but its goal", "open a cell to start from")
        return open_ / open_.sum(axis=1, keepdims=True)
    initial = np.zeros(open_.shape)
    for task, cell in enumerate(starts):
        state = cell_state(cell, free[task], "start")
        if state == goal[task]:
            raise UserError(f"start and goal are the same cell {tuple(cell)}", "choose two cells")
        initial[task, state] = 1.0
    return initial
