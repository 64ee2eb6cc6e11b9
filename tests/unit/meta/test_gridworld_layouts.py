"""Gridworlds that differ in everything: thousands of distinct ones, in splits that share none."""

import numpy as np
import pytest
import torch

from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.gridworld_values import optimal_values
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnLearner, GridworldTasks, MamlRl
from synrl_ray.meta.families import family_of
from synrl_ray.meta.gridworld_layouts import LayoutDistribution
from synrl_ray.meta.tasks import SPLITS

SETTINGS = GridworldTasks(vary="layout", num_obstacles=10)
TASKS = LayoutDistribution(rows=7, columns=7, num_obstacles=10, horizon=20)


def test_thousands_of_tasks_are_distinct_and_no_split_shares_one():
    drawn = {split: set(family_of(SETTINGS).identities(split, 1_000)) for split in SPLITS}
    assert min(map(len, drawn.values())) > 990
    assert len(set().union(*drawn.values())) == sum(map(len, drawn.values()))


def test_sizes_obstacles_starts_and_goals_differ_and_every_goal_can_be_reached():
    grids = TASKS.sample("train", range(200))
    sizes = {tuple(1 + np.argwhere(free.numpy()).max(0)) for free in grids.free}
    assert {min(sizes), max(sizes)} <= {(4, 4), (4, 5), (4, 6), (3, 4), (7, 7)}
    assert len(set(grids.goals.tolist())) > 20
    assert len(set(grids.initial.argmax(1).tolist())) > 20
    assert (grids.initial.max(1).values == 1).all()
    assert len({int(free.sum()) for free in grids.free}) > 10
    optimum = optimal_values(grids)  # 1 for the goal, less 0.01 for each of at most 20 moves
    assert ((optimum >= 0.8 - 1e-9) & (optimum <= 0.99 + 1e-9)).all()


def test_a_task_is_a_function_of_split_and_seed():
    together, alone = TASKS.sample("test", [5, 2**40]), TASKS.sample("test", [2**40])
    for name in ("goals", "free", "reward", "initial"):
        assert torch.equal(getattr(together, name)[1:], getattr(alone, name))


def test_policies_are_meta_learned_on_them():
    family = family_of(SETTINGS)
    maml = family.meta_learner(AnnLearner(hidden_sizes=(4,)), MamlRl(inner_steps=1, episodes=3))
    loss, figures = maml.meta_loss(family.distribution().sample("train", range(3)), 0)
    assert torch.isfinite(loss)
    assert figures["return"].shape == (3,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rows": 1}, "a grid of 1 x 7 cells is too small"), ({"num_obstacles": 400}, "do not fit into")],
)
def test_grids_that_cannot_be_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        LayoutDistribution(**settings, rewards=GridworldRewards())
