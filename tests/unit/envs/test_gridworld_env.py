"""The single gridworld as a Gymnasium environment."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_env import GridworldEnv
from synrl_ray.envs.gridworld_layout import random_layout, write_layout
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.errors import UserError

NORTH, EAST, SOUTH, WEST = range(4)
RING = ["...", ".#.", "..."]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("render_mode", [None, "ansi"])
@pytest.mark.parametrize(
    ("observation", "show_obstacles"),
    [("cell", False), ("one_hot", False), ("one_hot", True), ("coordinates", False), ("coordinates", True)],
)
def test_gymnasiums_checker_passes(observation, show_obstacles, render_mode):
    kwargs = {"observation": observation, "show_obstacles": show_obstacles, "num_obstacles": 5, "map_seed": 2}
    env = gym.make("synrl_ray/Gridworld-v0", render_mode=render_mode, shaping_scale=8.0, **kwargs)
    check_env(env.unwrapped, skip_render_check=render_mode is None)


def test_it_is_registered_without_torch():
    script = (
        "import sys, gymnasium, synrl_ray.envs.gridworld_env; gymnasium.make('synrl_ray/Gridworld-v0'); "
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_moves_rewards_the_end_and_the_time_limit_by_hand():
    env = GridworldEnv(layout=RING, start=(0, 1), step_cost=0.1, goal_reward=2.0, time_limit=6)
    assert env.reset(seed=0) == (1, {})
    for action, state in [(NORTH, 1), (SOUTH, 1), (WEST, 0), (EAST, 1), (EAST, 2)]:
        assert env.step(np.int64(action)) == (state, pytest.approx(-0.1), False, False, {})
    assert env.step(np.int64(SOUTH)) == (5, pytest.approx(-0.1), False, True, {})
    env.reset(options={"start": (2, 1)})
    assert env.step(np.int64(EAST)) == (8, pytest.approx(1.9), True, False, {})
    assert GridworldEnv(layout=RING).time_limit == 36


def test_it_plays_as_its_task_in_the_batch():
    rng = np.random.default_rng(5)
    goals = [(0, 4), (3, 1)]
    free = np.stack(
        [random_layout(4, 5, 6, rng, {"first": goals[0], "second": goals[1], "start": (1, 1)}) for _ in goals]
    )
    grids = Gridworlds.from_cells(
        free,
        goals,
        [(1, 1), (1, 1)],
        horizon=25,
        rewards=GridworldRewards(2.0, 0.03, 5.0, 0.9),
        observation="coordinates",
        show_obstacles=True,
    )
    for task in range(2):
        env = grids.single(task)
        assert write_layout(env.tables.free[0]) == write_layout(free[task])
        assert env.time_limit == 25
        seen, _ = env.reset(seed=0)
        states = grids.reset(1)
        ended = False
        while not ended:
            np.testing.assert_array_equal(seen, grids.observe(states)[task, 0])
            action = rng.integers(4)
            seen, reward, terminated, truncated, _ = env.step(action)
            states, rewards, reached = grids.step(states, torch.full((2, 1), int(action)))
            assert (env.agent, reward, terminated) == (states[task], rewards[task], reached[task])
            ended = terminated or truncated


def test_a_task_with_random_starts_keeps_them():
    env = Gridworlds.from_cells(np.ones((3, 3)), [(1, 1)], horizon=5).single(0)
    assert env.initial_state_distrib.tolist() == [0.125] * 4 + [0] + [0.125] * 4
    assert {env.reset(seed=seed)[0].argmax() for seed in range(60)} == {0, 1, 2, 3, 5, 6, 7, 8}


@pytest.mark.parametrize("shaping_scale", [None, 6.0])
def test_its_table_has_the_transitions_of_the_environment(shaping_scale):
    env = GridworldEnv(4, 5, num_obstacles=5, map_seed=1, goal=(1, 2), shaping_scale=shaping_scale)
    table = TransitionTable.from_env(env)
    assert (table.num_states, table.time_limit, table.observations) == (20, 80, None)
    for state in np.flatnonzero(table.initial):
        for action in range(4):
            env.reset(options={"start": divmod(int(state), 5)})
            _, reward, terminated, _, _ = env.step(np.int64(action))
            entry = (table.next_state, table.reward, table.terminated)
            assert tuple(array[state, action, 0] for array in entry) == (env.agent, reward, terminated)
    final = ~env.tables.free.ravel()
    final[env.goal] = True
    assert table.terminated[final].all()
    assert not table.reward[final].any()


def test_observations_belong_to_the_caller_and_are_those_of_the_table():
    env = GridworldEnv(layout=RING, observation="one_hot", show_obstacles=True, start=(0, 2))
    seen, _ = env.reset(seed=0)
    table = TransitionTable.from_env(env)
    np.testing.assert_array_equal(seen, table.observations[2])
    assert seen.tolist() == [0, 0, 1] + [0] * 10 + [1] + [0] * 4
    seen[:] = -1
    assert env.state_observations[2].min() >= 0


def test_the_seed_of_reset_decides_the_start_and_not_the_grid():
    def starts(seed):
        env = GridworldEnv(6, 6, num_obstacles=8, map_seed=4)
        return [env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(20))], write_layout(env.tables.free[0])

    assert starts(5) == starts(5)
    assert starts(5)[0] != starts(6)[0]
    assert starts(5)[1] == starts(6)[1]


def test_the_grid_as_text():
    env = GridworldEnv(layout=RING, start=(0, 1), render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == ".A.\n.#.\n..G\n"
    assert GridworldEnv(layout=RING).render() is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rows": 1}, "a grid of 1 x 5 cells is too small"),
        ({"goal": (5, 0)}, r"the goal \(5, 0\) is outside"),
        ({"layout": RING, "goal": (1, 1)}, r"the goal \(1, 1\) is an obstacle"),
        ({"start": (4, 4)}, r"start and goal are the same cell \(4, 4\)"),
        ({"num_obstacles": 24}, "num_obstacles=24 do not fit into 5 x 5 cells"),
        ({"map_seed": -1}, "map_seed=-1 is negative"),
        ({"time_limit": 2.5}, "time_limit=2.5 is no number of steps"),
        ({"time_limit": 0}, "time_limit=0 leaves no move"),
        ({"observation": "smell"}, "unknown observation 'smell'"),
        ({"show_obstacles": True}, "the observation 'cell' has no room for obstacles"),
        ({"step_cost": -1.0}, "rewards of the gridworld are out of range"),
        ({"layout": ["..", "##", ".."]}, r"gridworld 0 has no path from \(0, 0\) to the goal \(2, 1\)"),
    ],
)
def test_bad_input_is_named_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        GridworldEnv(**kwargs)
    assert "\n" not in str(caught.value)


def test_starts_that_are_refused_change_nothing():
    env = GridworldEnv(layout=RING, start=(0, 0))
    for start, message in [((1, 1), "is an obstacle"), ((0, 3), "is outside"), ((2, 2), "start and goal are the same")]:
        with pytest.raises(UserError, match=message):
            env.reset(options={"start": start})
        assert env.agent == 0
