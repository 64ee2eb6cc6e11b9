"""Gridworlds as tasks of meta-learning: held-out goals and maps, determinism, errors."""

import numpy as np
import pytest
import torch
from episodes_in_gridworlds import play

from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.gridworld_values import optimal_values
from synrl_ray.errors import UserError
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.tasks import SPLITS

MAPS = GridworldDistribution(rows=6, columns=7, num_obstacles=8, horizon=40)


def drawn(tasks, split, count=60):
    """Goals and maps of tasks, as sets."""
    grids = tasks.sample(split, range(count))
    return set(grids.goals.tolist()), {free.numpy().tobytes() for free in grids.free}


@pytest.mark.parametrize("distribution_seed", [0, 1])
@pytest.mark.parametrize("start", [None, (2, 3)])
def test_goals_of_the_splits_are_disjoint_and_together_all_cells(start, distribution_seed):
    tasks = GridworldDistribution(rows=5, columns=5, start=start, distribution_seed=distribution_seed)
    goals = [tasks.goals(split) for split in SPLITS]
    everywhere = sorted(cell for split in goals for cell in split)
    assert everywhere == sorted(set(np.ndindex(5, 5)) - {start})
    assert [len(split) for split in goals] == ([16, 4, 5] if start is None else [15, 4, 5])


def test_sampled_goals_and_maps_belong_to_one_split():
    goals, maps = zip(*(drawn(MAPS, split) for split in SPLITS), strict=True)
    for i, split in enumerate(SPLITS):
        assert goals[i] <= {row * 7 + column for row, column in MAPS.goals(split)}
        assert len(maps[i]) > 50
        for j in range(i):
            assert not goals[i] & goals[j]
            assert not maps[i] & maps[j]


def test_maps_of_few_possible_ones_stay_in_their_split():
    tasks = GridworldDistribution(rows=4, columns=4, num_obstacles=1, horizon=20)
    maps = [drawn(tasks, split, 200)[1] for split in SPLITS]
    assert [len(maps[0] & maps[1]), len(maps[0] & maps[2]), len(maps[1] & maps[2])] == [0, 0, 0]
    assert 8 < len(maps[0] | maps[1] | maps[2]) <= 16


def test_a_task_is_a_function_of_split_and_seed_whatever_it_is_drawn_with():
    together = MAPS.sample("test", [5, 9, 2**40])
    again = GridworldDistribution(rows=6, columns=7, num_obstacles=8, horizon=40).sample("test", [2**40, 9])
    for name in ("goals", "free", "reward", "next_state", "initial"):
        assert torch.equal(getattr(together, name)[[2, 1]], getattr(again, name))
    assert not torch.equal(together.free[0], together.free[1])


def test_another_distribution_seed_holds_out_other_goals_and_has_another_shared_map():
    one, other = (
        GridworldDistribution(num_obstacles=10, shared_obstacles=True, start=(0, 0), distribution_seed=seed)
        for seed in (0, 1)
    )
    assert one.goals("test") != other.goals("test")
    assert not torch.equal(one.sample("train", [0]).free, other.sample("train", [0]).free)


def test_shared_obstacles_are_the_same_in_all_splits_and_never_goals():
    tasks = GridworldDistribution(num_obstacles=15, shared_obstacles=True, start=(0, 0))
    grids = [tasks.sample(split, range(10)) for split in SPLITS]
    free = grids[0].free[0]
    assert (~free).sum() == 15
    assert all(torch.equal(other, free) for each in grids for other in each.free)
    goals = [cell for split in SPLITS for cell in tasks.goals(split)]
    assert len(goals) == 64 - 15 - 1
    assert all(free[cell] for cell in goals)


@pytest.mark.parametrize("start", [None, (0, 0)])
def test_every_task_can_be_solved_from_its_starts(start):
    tasks = GridworldDistribution(rows=6, columns=6, num_obstacles=12, start=start, horizon=40)
    for split in SPLITS:
        grids = tasks.sample(split, range(30))
        assert ((~grids.free).sum((1, 2)) == 12).all()
        assert (optimal_values(grids) > 0.6).all()
        assert (grids.initial.count_nonzero(1) == (23 if start is None else 1)).all()


def test_settings_reach_the_tasks_and_they_can_be_played():
    rewards = GridworldRewards(2.0, 0.1, shaping_scale=4.0, shaping_discount=0.9)
    tasks = GridworldDistribution(4, 5, horizon=12, rewards=rewards, observation="coordinates", show_obstacles=True)
    grids = tasks.sample("validation", range(3))
    played = play(grids, lambda seen: torch.zeros(3, 4, 4), 4, seed=0)
    assert played.observations.shape == (12, 3, 4, 22)
    assert grids.rewards == rewards
    assert not torch.equal(grids.reward, grids.task_reward)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"validation_share": 0.0}, "validation_share=0.0, test_share=0.2 leave a split without goals"),
        ({"validation_share": 0.5, "test_share": 0.5}, "leave a split without goals"),
        ({"rows": 2, "columns": 2, "test_share": 0.1}, "no goals are left for test"),
        ({"distribution_seed": -1}, "distribution_seed=-1 is negative"),
        ({"start": (8, 0)}, r"the start \(8, 0\) is outside"),
        ({"rows": 1}, "a grid of 1 x 8 cells is too small"),
        ({"rows": -1, "num_obstacles": 3}, "a grid of -1 x 8 cells is too small"),
        ({"num_obstacles": 64}, "num_obstacles=64 do not fit into 8 x 8 cells"),
        ({"num_obstacles": -1}, "num_obstacles=-1 is negative"),
        ({"horizon": 0}, "horizon=0 leaves no step"),
        ({"observation": "smell"}, "unknown observation 'smell'"),
    ],
)
def test_bad_distributions_are_named_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        GridworldDistribution(**kwargs)
    assert "\n" not in str(caught.value)


def test_a_grid_without_a_map_for_some_split_says_so():
    with pytest.raises(UserError, match="no map of 1 obstacles was found for"):
        GridworldDistribution(rows=2, columns=2, num_obstacles=1, validation_share=0.25, test_share=0.25)


def test_unknown_splits_and_seeds_are_refused():
    with pytest.raises(UserError, match="unknown split 'dev'"):
        MAPS.sample("dev", [0])
    with pytest.raises(UserError, match="unknown split 'dev'"):
        MAPS.goals("dev")
    with pytest.raises(UserError, match="no seeds"):
        MAPS.sample("train", [])
    with pytest.raises(UserError, match="a task's seed cannot be -1"):
        MAPS.sample("train", [-1])
