"""The vectorised environment against Gymnasium's."""

import gymnasium as gym
import numba
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from synrl_ray.envs.maze import MazeEnv
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_kernels import draw, step
from synrl_ray.envs.tabular_vector import TabularVectorEnv


class Uniform:
    """A generator that gives one number for ever."""

    def __init__(self, value):
        self.value = value

    def random(self, size=None):
        return self.value if size is None else np.full(size, self.value)


def make(env_id, num_envs, **kwargs):
    return TabularVectorEnv(TransitionTable.from_id(env_id, kwargs), num_envs)


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("CliffWalking-v1", {"max_episode_steps": 23}),
        ("FrozenLake-v1", {"is_slippery": False, "max_episode_steps": 6}),
        ("FrozenLake-v1", {"is_slippery": False}),
    ],
)
def test_deterministic_environments_are_equal_step_by_step_ends_and_resets_included(env_id, kwargs):
    ours, gymnasiums = make(env_id, 5, **kwargs), gym.make_vec(env_id, 5, vectorization_mode="sync", **kwargs)
    assert ours.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP == gymnasiums.metadata["autoreset_mode"]
    for space in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(ours, space) == getattr(gymnasiums, space)
    np.testing.assert_array_equal(ours.reset(seed=0)[0], gymnasiums.reset(seed=0)[0])
    ends = np.zeros(2, int)
    for actions in np.random.default_rng(1).integers(0, 4, (500, 5)):
        got, expected = ours.step(actions)[:4], gymnasiums.step(actions)[:4]
        for ours_array, gymnasiums_array in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours_array, gymnasiums_array)
            assert ours_array.dtype == gymnasiums_array.dtype
        ends += [got[2].sum(), got[3].sum()]
    assert ends.sum() > 20


@pytest.mark.parametrize("uniform", [0.0, 0.05, 0.1, 1 / 3, 0.5, 0.79, 0.8, 0.95, 1 - 2**-53])
@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("FrozenLake8x8-v1", {}),
        ("FrozenLake-v1", {"success_rate": 0.8}),
        ("CliffWalkingSlippery-v1", {}),
        ("Taxi-v3", {"is_rainy": True}),
    ],
)
def test_the_same_random_number_gives_the_outcome_of_the_original_everywhere(env_id, kwargs, uniform):
    original, table = gym.make(env_id, **kwargs).unwrapped, TransitionTable.from_id(env_id, kwargs)
    states, actions = map(np.ravel, np.indices((table.num_states, table.num_actions)))
    if len(states) > 1000:  # Taxi steps slowly
        chosen = np.random.default_rng(0).choice(len(states), 300, replace=False)
        states, actions = states[chosen], actions[chosen]
    ours = TabularVectorEnv(table, len(states))
    ours.reset(seed=0)
    ours.states, ours.np_random = states, Uniform(uniform)
    original.reset(seed=0)
    original.np_random = Uniform(uniform)
    arrays = (table.cumulative, table.next_state, table.reward, table.terminated)
    after, rewards, terminated, _, _ = ours.step(actions)
    for n, (state, action) in enumerate(zip(states, actions, strict=True)):
        original.s = state
        expected = original.step(action)[:3]
        assert (after[n], rewards[n], terminated[n]) == expected
        assert step(*arrays, state, action, uniform) == expected


@pytest.mark.parametrize("env_id", ["Taxi-v3", "FrozenLake-v1"])
@pytest.mark.parametrize("uniform", [0.0, 0.123, 0.5, 0.999, 1 - 1e-9])
def test_the_same_random_number_gives_the_first_state_of_the_original(env_id, uniform):
    original, ours = gym.make(env_id).unwrapped, make(env_id, 2)
    original.np_random = ours.np_random = Uniform(uniform)
    cumulative = ours.table.initial_cumulative
    expected = original.reset()[0]
    assert ours.reset()[0].tolist() == [expected, expected]
    assert draw(cumulative, uniform) == expected == np.searchsorted(cumulative, uniform, side="right")


@numba.njit
def compiled_loop(cumulative, next_state, reward, terminated, initial, actions, uniforms):
    states, total = np.empty(len(actions), np.int64), 0.0
    state = draw(initial, uniforms[0])
    for t in range(len(actions)):
        state, gained, ended = step(cumulative, next_state, reward, terminated, state, actions[t], uniforms[t + 1])
        states[t], total = state, total + gained
        if ended:
            state = draw(initial, uniforms[t + 1])
    return states, total


def test_a_compiled_loop_plays_the_same_episodes():
    table, rng = (
        TransitionTable.from_id("FrozenLake8x8-v1", {"reward_schedule": (10, -3, -1), "max_episode_steps": -1}),
        np.random.default_rng(0),
    )
    actions, uniforms = rng.integers(0, 4, 5000), rng.random(5001)
    arrays = (table.cumulative, table.next_state, table.reward, table.terminated)
    states, total = compiled_loop(*arrays, table.initial_cumulative, actions, uniforms)
    ours = TabularVectorEnv(table, 1)
    ours.np_random = Uniform(uniforms[0])
    ours.reset()
    expected, ends = 0.0, 0
    for t, action in enumerate(actions):
        ours.np_random = Uniform(uniforms[t + 1])
        after, rewards, terminated, truncated, _ = ours.step(np.array([action]))
        assert states[t] == after[0]
        expected += rewards[0]
        if terminated[0] or truncated[0]:
            ends += 1
            ours.reset()
    assert total == expected
    assert ends > 20


def test_frequencies_are_the_probabilities():
    ours = make("FrozenLake-v1", 30_000)
    ours.reset(seed=3)
    after, _, _, _, _ = ours.step(np.full(30_000, 1))  # down from the corner: left, down or right, each 1/3
    values, counts = np.unique(after, return_counts=True)
    assert values.tolist() == [0, 1, 4]
    assert (np.abs(counts - 10_000) < 4 * np.sqrt(30_000 * 2 / 9)).all()


def test_all_first_states_are_drawn_equally_often():
    ours = make("Taxi-v3", 60_000)
    first, info = ours.reset(seed=0)
    counts = np.bincount(first, minlength=500)
    assert info == {}
    assert np.flatnonzero(counts).tolist() == np.flatnonzero(ours.table.initial).tolist()
    assert (np.abs(counts[counts > 0] - 200) < 5 * np.sqrt(200)).all()


def test_the_time_limit_truncates_and_the_next_step_resets():
    ours = make("Taxi-v3", 3, max_episode_steps=4)
    ours.reset(seed=0)
    west = np.full(3, 3)
    for _ in range(2):
        ends = [ours.step(west)[3].tolist() for _ in range(4)]
        assert ends == [[False] * 3] * 3 + [[True] * 3]
        first, rewards, terminated, truncated, _ = ours.step(west)
        assert (ours.table.initial[first] > 0).all()
        assert (rewards.tolist(), terminated.any(), truncated.any()) == ([0] * 3, False, False)
        assert ours.elapsed.tolist() == [0] * 3


def test_the_seed_decides_everything():
    def played(seed):
        ours = make("FrozenLake-v1", 4)
        rows = [ours.reset(seed=seed)[0]]
        rows += [ours.step(np.full(4, t % 4))[0] for t in range(60)]
        return np.array(rows)

    np.testing.assert_array_equal(played(5), played(5))
    np.testing.assert_array_equal(played([1, 2, 3, 4]), played([1, 2, 3, 4]))
    assert not np.array_equal(played(5), played(6))
    assert not np.array_equal(played([1, 2, 3, 4]), played([1, 2, 3, 5]))


def test_what_is_returned_is_never_written_to_again():
    ours = make("CliffWalking-v1", 2, max_episode_steps=3)
    kept = [ours.reset(seed=0)[0], *(array for _ in range(6) for array in ours.step(np.zeros(2, int))[:4])]
    copies = [array.copy() for array in kept]
    for _ in range(10):
        ours.step(np.ones(2, int))
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_mask_resets_some():
    ours = make("CliffWalking-v1", 3, max_episode_steps=5)
    ours.reset(seed=0)
    ours.step(np.zeros(3, int))
    assert ours.states.tolist() == [24] * 3
    first, _ = ours.reset(options={"reset_mask": np.array([True, False, True])})
    assert first.tolist() == [36, 24, 36]
    assert ours.elapsed.tolist() == [0, 1, 0]


@pytest.mark.parametrize("observation", ["place_cells", "local", "cell"])
def test_a_maze_is_seen_as_in_its_own_environment(observation):
    env = MazeEnv(size=4, maze_seed=2, start=(0, 0), goal=(2, 1), time_limit=9, observation=observation)
    ours, gymnasiums = TabularVectorEnv(TransitionTable.from_env(env), 1), gym.vector.SyncVectorEnv([lambda: env])
    assert ours.observation_space == gymnasiums.observation_space
    np.testing.assert_array_equal(ours.reset(seed=0)[0], gymnasiums.reset(seed=0)[0])
    ends = 0
    for action in np.random.default_rng(0).integers(0, 4, 200):
        got, expected = ours.step(np.array([action])), gymnasiums.step(np.array([action]))
        for ours_array, gymnasiums_array in zip(got[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(ours_array, gymnasiums_array)
        ends += int((got[2] | got[3]).sum())
    assert ends > 10


def test_it_is_a_vector_environment_for_gymnasiums_wrappers():
    envs = gym.wrappers.vector.RecordEpisodeStatistics(make("CliffWalking-v1", 2, max_episode_steps=3))
    assert isinstance(envs.unwrapped, VectorEnv)
    envs.reset(seed=0)
    for _ in range(3):
        info = envs.step(np.zeros(2, int))[4]
    assert info["episode"]["r"].tolist() == [-3, -3]
    assert info["episode"]["l"].tolist() == [3, 3]
    envs.close()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], r"2 integers are needed, got actions int64\[1\]"),
        ([0.0, 1.0], r"2 integers are needed, got actions float64\[2\]"),
        ([0, 4], "actions must be within 0 and 3"),
        ([-1, 0], "actions must be within 0 and 3"),
    ],
)
def test_actions_that_do_not_exist_are_refused(actions, message):
    ours = make("FrozenLake-v1", 2)
    ours.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        ours.step(np.array(actions))


def test_a_step_before_the_reset_and_no_environments_are_refused():
    with pytest.raises(gym.error.ResetNeeded, match="before the first step"):
        make("FrozenLake-v1", 2).step(np.zeros(2, int))
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        make("FrozenLake-v1", 0)
