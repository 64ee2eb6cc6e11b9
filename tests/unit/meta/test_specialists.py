"""Q-learning on gridworlds, one table for each task."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.gridworld_values import optimal_action_values, regret
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.specialists import learn_tables, pooled_table, transition_table
from synrl_ray.settings.q_learning import QLearning

TASKS = GridworldDistribution(rows=4, columns=4, start=(1, 1), horizon=12, rewards=GridworldRewards(step_cost=0.02))
EXPLORING = QLearning(epsilon_start=1.0, epsilon_end=1.0, gamma=1.0)


@pytest.fixture(scope="module")
def grids():
    return TASKS.sample("train", range(5))


def test_the_table_has_the_dynamics_of_the_task(grids):
    table = transition_table(grids, 2)
    goal = int(grids.goals[2])
    assert table.time_limit == 12
    assert (table.next_state[..., 0] == grids.next_state[2].numpy()).all()
    assert (table.reward[..., 0] == grids.reward[2].numpy()).all()
    ends = np.argwhere(table.terminated[..., 0])
    assert len(ends) > 1
    assert all(grids.next_state[2][state, action] == goal != state for state, action in ends)


def test_random_moves_teach_the_best_policy_and_its_values(grids):
    (q,) = learn_tables(grids, EXPLORING, [20_000], range(5))
    policy = one_hot(torch.from_numpy(q.argmax(-1)), 4).double()
    torch.testing.assert_close(regret(grids, policy), torch.zeros(5, dtype=torch.float64))
    best = optimal_action_values(grids).numpy()
    start = 5  # the cell (1, 1), from which every goal is within the horizon
    np.testing.assert_allclose(q[:, start].max(-1), best[:, start].max(-1), atol=1e-9)


def test_budgets_are_looks_at_the_same_learning(grids):
    whole = learn_tables(grids, EXPLORING, [0, 40, 300], range(5))
    assert (whole[0] == 0).all()
    assert (learn_tables(grids, EXPLORING, [300], range(5))[0] == whole[2]).all()
    one = learn_tables(TASKS.sample("train", [3]), EXPLORING, [40], [3])
    assert (one[0, 0] == whole[1, 3]).all(), "a task is learned alike, whatever it is learned together with"


def test_a_pooled_start_is_the_mean_and_is_where_learning_begins(grids):
    tables = learn_tables(grids, EXPLORING, [5_000], range(5))[0]
    pooled = pooled_table(tables)
    np.testing.assert_allclose(pooled, sum(tables) / 5)
    kept = pooled.copy()
    started = learn_tables(grids, EXPLORING, [0, 10], range(5), pooled)
    assert (started[0] == pooled).all()
    assert (started[1] != pooled).any()
    assert (pooled == kept).all(), "the start itself is left alone"
