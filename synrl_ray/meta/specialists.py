"""Tabular Q-learning on gridworlds: an agent of its own for each task, and what such agents have in common.

Legend: M tasks, S states, B budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synrl_ray.envs.gridworld import NUM_ACTIONS, Gridworlds
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.policies.local.agent import Clock
from synrl_ray.policies.local.q_learning.fragment import Schedule, dynamics_of, learn_fragment
from synrl_ray.settings.q_learning import QLearning


def transition_table(grids: Gridworlds, task: int) -> TransitionTable:
    """One of the tasks as arrays, with the rewards that agents learn from."""
    following, goal = grids.next_state[task].numpy(), int(grids.goals[task])
    arrives = (following == goal) & (np.arange(grids.num_states) != goal)[:, None]
    return TransitionTable(
        probability=np.ones((*following.shape, 1)),
        next_state=following[..., None],
        reward=grids.reward[task].numpy()[..., None],
        terminated=arrives[..., None],
        initial=grids.initial[task].numpy(),
        time_limit=grids.horizon,
        name="gridworld",
    )


def learn_tables(
    grids: Gridworlds,
    settings: QLearning,
    budgets: Sequence[int],
    seeds: Sequence[int],
    initial: np.ndarray | None = None,
) -> np.ndarray:
    """Action values of M agents after each number of environment steps, ``[B, M, S, 4]``.

    Args:
        grids: M tasks.
        settings: of all agents.
        budgets: environment steps in all, increasing; 0 for the values at the start.
        seeds: of the agents' exploration, M of them.
        initial: ``[S, 4]``, action values at the start; by default all are ``settings.initial_value``.
    """
    shape = (grids.num_states, NUM_ACTIONS)
    start = np.full(shape, settings.initial_value) if initial is None else initial
    found = np.empty((len(budgets), grids.num_tasks, *shape))
    epsilon = Schedule(settings.epsilon_start, settings.epsilon_end, settings.epsilon_steps)
    lr = Schedule(settings.lr, settings.final_lr, settings.lr_steps)
    for task, seed in enumerate(seeds):
        dynamics = dynamics_of(transition_table(grids, task))
        random, q, done = np.random.default_rng(seed), start.astype(np.float64), 0
        states = np.array([np.searchsorted(dynamics.initial_cumulative, random.random(), side="right")])
        elapsed, returns = np.zeros(1, np.int64), np.zeros(1)
        for place, budget in enumerate(budgets):
            ended = np.empty(budget - done), np.empty(budget - done)
            clock = Clock(budget - done, done, 1)
            learn_fragment(q, dynamics, clock, epsilon, lr, settings.gamma, states, elapsed, returns, *ended, random)
            found[place, task], done = q, budget
    return found


def pooled_table(tables: np.ndarray) -> np.ndarray:
    """The mean of the agents' action values ``[M, S, 4]``, a start for another agent: ``[S, 4]``."""
    return np.asarray(tables.mean(axis=0))
