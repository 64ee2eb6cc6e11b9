"""Grids and episodes that a file describes in a line are refused before they fill the memory, or never end."""

import json
import resource
import tracemalloc

import pytest

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.maze_layout import MOST_SEEN_CELLS
from synrl_ray.errors import UserError
from synrl_ray.experiment import GridworldTasks
from synrl_ray.meta.families import family_of

MAZE, GRIDWORLD = "synrl_ray/Maze-v0", "synrl_ray/Gridworld-v0"


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        (MAZE, {"size": 10**9}),
        (MAZE, {"size": 1000, "observation": "cell"}),
        (MAZE, {"size": 100}),
        (MAZE, {"layout": ["#" * 513] * 513}),
        (GRIDWORLD, {"rows": 10**9, "columns": 10**9}),
        (GRIDWORLD, {"rows": 10**9, "columns": 2, "num_obstacles": 10**9}),
        (GRIDWORLD, {"rows": 100, "columns": 100, "observation": "one_hot"}),
        (GRIDWORLD, {"rows": 100, "columns": 100, "observation": "coordinates", "show_obstacles": True}),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_large_grid_is_refused(env_id, kwargs):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"a grid of .* cells is too large — at most"):
            make_environment(env_id, kwargs)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


def test_so_are_those_of_meta_learning():
    with pytest.raises(UserError, match="a grid of 128 x 128 cells is too large"):
        family_of(GridworldTasks(rows=128, columns=128)).distribution()
    with pytest.raises(ValueError, match="rows must be <= 128"):
        GridworldTasks(rows=129)


def test_a_grid_that_is_not_is_made():
    side = int(MOST_SEEN_CELLS**0.5)
    env = make_environment(MAZE, {"size": 100, "observation": "cell"})
    assert env.observation_space.n == 10_000
    assert make_environment(GRIDWORLD, {"rows": side, "columns": 30}).observation_space.n == side * 30


@pytest.mark.parametrize(
    ("env_id", "name"), [(MAZE, "time_limit"), (GRIDWORLD, "time_limit"), ("CartPole-v1", "max_episode_steps")]
)
def test_an_episode_that_never_ends_is_refused(env_id, name):
    with pytest.raises(UserError, match=rf"{name}=1,000,000,000,000 never ends an episode — choose at most 1,000,000"):
        make_environment(env_id, {name: 10**12})
    make_environment(env_id, {name: 10**6}).close()
    make_environment("CartPole-v1", {"max_episode_steps": -1}).close()
