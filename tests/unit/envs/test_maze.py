"""The maze as an environment."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.maze import MazeEnv
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import best_greedy_policy, exact_value, optimal_state_values, optimal_value
from synrl_ray.errors import UserError

NORTH, EAST, SOUTH, WEST = range(4)
# A ring of eight cells around a solid one, and a wall between the goal and the cell to the west of it.
RING = ["#######", "#     #", "# ### #", "# ### #", "# ### #", "#   # #", "#######"]
TWO_ROOMS = ["#######", "# #   #", "# # # #", "# # # #", "# # # #", "# # # #", "#######"]


def ring(**kwargs):
    env = MazeEnv(layout=RING, observation="cell", **kwargs)
    env.reset(seed=0)
    return env


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
@pytest.mark.parametrize("observation", ["place_cells", "local", "cell"])
def test_gymnasiums_checker_passes(observation, render_mode):
    env = gym.make("synrl_ray/Maze-v0", observation=observation, size=4, render_mode=render_mode)
    check_env(env.unwrapped)


def test_the_environment_is_found_by_its_id():
    env = make_environment("synrl_ray/Maze-v0", {"size": 5, "maze_seed": 3, "braid": 0.5, "goal": [0, 4]})
    assert env.unwrapped.goal == 4
    assert env.observation_space.shape == (25,)
    assert env.spec.max_episode_steps is None


def test_moves_walls_rewards_and_the_end_by_hand():
    env = ring(start=(0, 1), step_cost=0.1, bump_cost=0.5, goal_reward=2.0)
    assert env.agent == 1
    played = [(NORTH, 1, -0.6), (SOUTH, 1, -0.6), (WEST, 0, -0.1), (EAST, 1, -0.1), (EAST, 2, -0.1), (EAST, 2, -0.6)]
    for action, state, reward in [*played, (SOUTH, 5, -0.1)]:
        assert env.step(np.int64(action)) == (state, pytest.approx(reward), False, False, {})
    assert env.step(np.int64(SOUTH)) == (8, pytest.approx(1.9), True, False, {})


def test_a_passage_of_the_generated_maze_is_the_only_way():
    env = MazeEnv(size=5, maze_seed=1, observation="cell")
    for cell in np.ndindex(5, 5):
        for action in range(4):
            if cell == (4, 4):
                continue
            before, _ = env.reset(options={"start": cell})
            moved = env.step(np.int64(action))[0] != before
            assert moved == env.layout.passages[(*cell, action)]


def test_the_time_limit_truncates_and_is_four_moves_a_cell_by_default():
    env = ring(start=(0, 0), time_limit=3)
    assert [env.step(np.int64(NORTH))[2:4] for _ in range(3)] == [(False, False)] * 2 + [(False, True)]
    env.reset()
    assert env.step(np.int64(NORTH))[2:4] == (False, False)
    assert MazeEnv(size=5).time_limit == 100
    straight = ring(start=(1, 2), time_limit=1)
    assert straight.step(np.int64(SOUTH))[2:4] == (True, True)


def test_starts_are_all_free_cells_but_the_goal_equally_likely():
    env = ring()
    starts = [env.reset()[0] for _ in range(3500)]
    values, counts = np.unique(starts, return_counts=True)
    assert values.tolist() == [0, 1, 2, 3, 5, 6, 7] == np.flatnonzero(env.initial_state_distrib).tolist()
    assert (np.abs(counts - 500) < 4 * np.sqrt(500)).all()
    np.testing.assert_allclose(env.initial_state_distrib[values], 1 / 7)


def test_the_seed_of_reset_decides_the_start_and_not_the_maze():
    def starts(seed):
        env = MazeEnv(size=6, maze_seed=4, observation="cell")
        return [env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(20))], str(env.layout)

    assert starts(5) == starts(5)
    assert starts(5)[0] != starts(6)[0]
    assert starts(5)[1] == starts(6)[1]


def test_distances_and_the_shortest_path_are_to_the_present_goal():
    env = ring()
    assert env.distances().tolist() == [4, 3, 2, 5, -1, 1, 6, 7, 0]
    assert env.shortest_path((2, 1)) == [7, 6, 3, 0, 1, 2, 5, 8]
    env.reset(options={"start": (1, 2)})
    assert env.shortest_path() == [5, 8]
    env.distances()[:] = 0  # a copy
    assert env.distances()[0] == 4


def test_a_goal_that_is_moved_stays_and_a_start_that_is_given_does_not():
    env = ring()
    env.reset(options={"goal": (0, 0), "start": (0, 1)})
    assert env.step(np.int64(WEST))[1:3] == (pytest.approx(0.99), True)
    starts = {env.reset(seed=seed)[0] for seed in range(40)}
    assert starts == {1, 2, 3, 5, 6, 7, 8}
    assert env.goal == 0
    assert env.distances().tolist() == [0, 1, 2, 1, -1, 3, 2, 3, 4]
    assert TransitionTable.from_env(env).initial[[0, 8]].tolist() == [0, pytest.approx(1 / 7)]


def test_options_that_are_refused_change_nothing():
    env = ring()
    before = env.agent
    for options, message in [
        ({"goal": (1, 1)}, r"the goal \(1, 1\) is in a wall"),
        ({"goal": (0, 3)}, r"the goal \(0, 3\) is outside"),
        ({"start": (2, 2)}, r"start and goal are the same cell \(2, 2\)"),
        ({"goal": (0, 0), "start": (0, 0)}, r"start and goal are the same cell \(0, 0\)"),
        ({"goal": (0, 0), "start": (1, 1)}, r"the start \(1, 1\) is in a wall"),
    ]:
        with pytest.raises(UserError, match=message):
            env.reset(options=options)
        assert (env.goal, env.agent, env.distances()[0]) == (8, before, 4)


@pytest.mark.parametrize(("observation", "shape"), [("place_cells", (9,)), ("local", (4,)), ("cell", ())])
def test_observations_are_those_of_the_state_and_belong_to_the_caller(observation, shape):
    env = MazeEnv(layout=RING, observation=observation, sigma=0.5, start=(0, 2))
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    assert np.shape(seen) == shape
    if observation == "cell":
        assert seen == 2
        return
    np.testing.assert_array_equal(seen, env.state_observations[2])
    if observation == "place_cells":
        assert seen.argmax() == 2
        np.testing.assert_allclose(seen[[1, 5, 0]], np.exp([-2, -2, -8]), rtol=1e-6)
    else:
        assert seen.tolist() == [1, 1, 0, 0]
    seen[:] = -1
    assert env.state_observations[2].min() >= 0


@pytest.mark.parametrize("braid", [0.0, 0.6])
def test_its_table_has_the_transitions_of_the_environment(braid):
    env = MazeEnv(size=4, maze_seed=5, braid=braid, goal=(1, 2), goal_reward=3.0)
    table = TransitionTable.from_env(env)
    assert (table.time_limit, table.observations.shape) == (64, (16, 16))
    for state in set(range(16)) - {env.goal}:
        for action in range(4):
            env.reset(options={"start": env.layout.cell(state)})
            _, reward, terminated, _, _ = env.step(np.int64(action))
            entry = (table.next_state, table.reward, table.terminated)
            assert tuple(array[state, action, 0] for array in entry) == (env.agent, reward, terminated)
    assert table.terminated[env.goal].all()
    assert not table.reward[env.goal].any()


@pytest.mark.parametrize("braid", [0.0, 1.0])
def test_the_best_return_is_the_goals_reward_less_the_cost_of_the_shortest_path(braid):
    env = MazeEnv(size=7, maze_seed=11, braid=braid, step_cost=0.02)
    table, distances = TransitionTable.from_env(env), env.distances()
    away = distances > 0
    np.testing.assert_allclose(optimal_state_values(table)[away], 1 - 0.02 * distances[away])
    policy, value = best_greedy_policy(table)
    assert value == pytest.approx(1 - 0.02 * distances[away].mean()) == optimal_value(table)
    assert exact_value(table, policy, int(distances.max())) == pytest.approx(value)
    assert exact_value(table, np.full((49, 4), 0.25)) < value - 1


def test_played_by_the_greedy_policy_every_cell_reaches_the_goal_on_a_shortest_path():
    env = MazeEnv(size=6, maze_seed=2, braid=0.3, observation="cell")
    policy, _ = best_greedy_policy(TransitionTable.from_env(env))
    for state in range(35):
        seen, _ = env.reset(options={"start": env.layout.cell(state)})
        terminated = False
        while not terminated:
            seen, _, terminated, truncated, _ = env.step(policy[seen])
            assert not truncated
        assert env.elapsed == env.distances()[state]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 2}, "a maze of size 2 is too small"),
        ({"braid": 2}, "braid=2 is no share"),
        ({"goal": (8, 0)}, r"the goal \(8, 0\) is outside"),
        ({"start": (0, 9)}, r"the start \(0, 9\) is outside"),
        ({"start": (7, 7)}, r"start and goal are the same cell \(7, 7\)"),
        ({"layout": RING, "goal": (1, 1)}, r"the goal \(1, 1\) is in a wall"),
        ({"layout": TWO_ROOMS}, r"the maze has no path from \(0, 0\) to the goal \(2, 2\)"),
        ({"layout": TWO_ROOMS, "start": (1, 0)}, r"the maze has no path from \(1, 0\) to \(2, 2\)"),
        ({"layout": ["#######", *["#######"] * 4, "##### #", "#######"]}, "has no free cell but its goal"),
        ({"observation": "smell"}, "unknown observation 'smell' — one of place_cells, local, cell"),
        ({"sigma": 0.0}, "sigma=0.0 is no width of place fields"),
        ({"step_cost": -0.1}, r"rewards of the maze are out of range \(goal_reward=1.0, step_cost=-0.1"),
        ({"bump_cost": float("inf")}, "rewards of the maze are out of range"),
        ({"goal_reward": float("nan")}, "rewards of the maze are out of range"),
        ({"time_limit": 0}, "time_limit=0 leaves no move"),
    ],
)
def test_bad_input_is_named_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        make_environment("synrl_ray/Maze-v0", kwargs)
    assert "\n" not in str(caught.value)


def test_a_room_without_a_door_is_left_alone_when_the_start_is_given():
    env = MazeEnv(layout=TWO_ROOMS, start=(0, 1), observation="cell")
    assert env.reset(seed=0)[0] == 1
    assert env.distances()[[0, 3, 6]].tolist() == [-1] * 3


def test_optimal_actions_lead_along_shortest_paths():
    env = ring()
    actions, distances = env.optimal_actions(), env.distances()
    for state in np.flatnonzero(distances > 0):
        assert distances[env.layout.next_state[state, actions[state]]] == distances[state] - 1
    assert (actions[distances <= 0] == -1).all()


@pytest.mark.parametrize("braid", [0.0, 0.7])
def test_path_lengths_are_those_of_an_agent_that_walks(braid):
    env = MazeEnv(size=5, maze_seed=3, braid=braid, observation="cell")
    best = env.path_lengths(env.optimal_actions().clip(0))
    np.testing.assert_array_equal(best, env.distances())
    actions = np.random.default_rng(0).integers(4, size=25)
    for state, length in enumerate(env.path_lengths(actions)):
        walked = _walk(env, state, actions)
        assert length == walked


def _walk(env, state, actions):
    if state == env.goal:
        return 0
    env.reset(options={"start": env.layout.cell(state)})
    terminated = truncated = False
    at = state
    while not (terminated or truncated):
        at, _, terminated, truncated, _ = env.step(actions[at])
    return env.elapsed if terminated else -1


def test_a_path_longer_than_the_time_limit_does_not_arrive():
    env = MazeEnv(size=5, maze_seed=3, observation="cell", time_limit=3)
    lengths = env.path_lengths(env.optimal_actions().clip(0))
    np.testing.assert_array_equal(lengths, np.where(env.distances() <= 3, env.distances(), -1))
