"""Environments that are set to tasks: how parameters reach them, and that stepping them together changes nothing."""

import gymnasium as gym
import numpy as np
import pytest

from synrl_ray.envs.make import make_environment
from synrl_ray.envs.navigation import NavigationEnv
from synrl_ray.envs.task_envs import make_task_envs, places_of, vector_size
from synrl_ray.envs.together import is_as_written
from synrl_ray.errors import UserError

PHYSICS = "synrl_ray/CartPolePhysics-v0"


class Walk(gym.Env):
    """One number that a step adds to; a task may be an argument, an attribute, or an option of reset."""

    observation_space, action_space = gym.spaces.Discrete(50, start=1), gym.spaces.Discrete(2)

    def __init__(self, bonus=0.0):
        self.bonus, self.factor, self.at = bonus, 1.0, 1

    @property
    def fixed(self):
        return 3

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 1 + (options or {}).get("first", 0)
        return self.at, {}

    def step(self, action):
        self.at += int(action)
        return self.at, float("nan") if self.factor < 0 else self.factor * self.at + self.bonus, self.at > 5, False, {}


gym.register("tests/Walk-v0", entry_point=Walk)


def test_each_parameter_reaches_the_environment_in_its_way():
    env, names = make_environment("tests/Walk-v0"), ["bonus", "factor", "options.first"]
    places = places_of(env, "tests/Walk-v0", names)
    assert places == {"bonus": "keyword", "factor": "attribute", "options.first": "option"}
    tasks = [{"bonus": 0.5, "factor": 1.0, "options.first": 0}, {"bonus": 0.0, "factor": 10.0, "options.first": 4}]
    envs = make_task_envs("tests/Walk-v0", {}, tasks, places, 2)
    assert envs.reset([0] * 4).argmax(1).tolist() == [0, 0, 4, 4]
    seen, rewards, ended = envs.step(np.array([0, 1, 0, 1]), np.ones(4, np.bool_))
    assert seen.argmax(1).tolist() == [0, 1, 4, 5]
    assert rewards.tolist() == [1.5, 2.5, 50.0, 60.0]
    assert ended.tolist() == [False, False, False, True]
    seen, rewards, ended = envs.step(np.ones(4, np.int64), ~ended)
    assert (seen[3].argmax(), rewards[3], ended[3]) == (5, 0.0, False)  # it has ended, and is left alone


def test_in_numpy_and_one_by_one_the_episodes_are_the_same():
    tasks = [{"pole_length": 0.3, "force": 5.0}, {"pole_length": 1.5, "force": -12.0}]
    together = make_task_envs(PHYSICS, {}, tasks, {"pole_length": "keyword", "force": "keyword"}, 3)
    places = {"pole_length": "keyword", "force": "keyword", "steps": "attribute"}
    alone = make_task_envs(PHYSICS, {}, [{**task, "steps": 0} for task in tasks], places, 3)
    assert type(together) is not type(alone)
    seeds, running = [7, 8, 9, 7, 8, 9], np.ones(6, np.bool_)
    np.testing.assert_array_equal(together.reset(seeds), alone.reset(seeds))
    for step in range(80):
        actions = (np.arange(6) + step) % 2
        found, expected = (envs.step(actions, running) for envs in (together, alone))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        running &= ~found[2]
    assert not running.all()


def test_a_time_limit_of_the_environments_own_ends_episodes():
    envs = make_task_envs("synrl_ray/Navigation-v0", {"time_limit": 2}, [{"goal_x": 0.5}], {"goal_x": "keyword"}, 2)
    envs.reset([0, 0])
    ends = [envs.step(np.zeros((2, 2)), np.ones(2, np.bool_))[2].tolist() for _ in range(2)]
    assert ends == [[False, False], [True, True]]


def test_a_parameter_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(
        UserError, match=r"'CartPole-v1' has no parameter 'gravty' — choose from force_mag, gravity, le"
    ):
        places_of(make_environment("CartPole-v1"), "CartPole-v1", ["gravty"])
    with pytest.raises(UserError, match="has no parameter 'reset'"):
        places_of(make_environment("CartPole-v1"), "CartPole-v1", ["reset"])


@pytest.mark.parametrize(
    ("task", "places", "message"),
    [
        ({"fixed": 4}, {"fixed": "attribute"}, "fixed = 4 cannot be set in tests/Walk-v0"),
        ({"bonus": "much", "factor": 1.0}, {"bonus": "keyword", "factor": "attribute"}, "step"),
        ({"factor": -1.0}, {"factor": "attribute"}, "gave NaN or infinity"),
        ({"options.first": "x"}, {"options.first": "option"}, "reset"),
    ],
)
def test_an_environment_that_cannot_be_set_to_a_task_is_one_line(task, places, message):
    def play():
        envs = make_task_envs("tests/Walk-v0", {}, [task], places, 1)
        envs.reset([0])
        envs.step(np.array([1]), np.ones(1, np.bool_))

    with pytest.raises(UserError, match=message) as caught:
        play()
    assert "\n" not in str(caught.value)


def test_observations_that_are_no_vectors_are_refused():
    with pytest.raises(UserError, match="meta-learned policies see vectors"):
        vector_size(gym.spaces.Box(0, 1, (4, 4)), "A-v0")


class Half(gym.RewardWrapper):
    """Pays half."""

    def reward(self, reward):
        return 0.5 * reward


class Slow(NavigationEnv):
    """Has a step of its own."""

    def step(self, action):
        return super().step(0.1 * np.asarray(action))


gym.register("tests/Half-v0", entry_point=lambda: Half(NavigationEnv()))
gym.register("tests/Slow-v0", entry_point=Slow)


@pytest.mark.parametrize("env_id", ["tests/Half-v0", "tests/Slow-v0"])
def test_what_a_wrapper_or_a_subclass_changes_is_not_passed_by(env_id):
    envs = make_task_envs(env_id, {}, [{"options.none": 0}], {"options.none": "option"}, 1)
    env = make_environment(env_id)
    action = np.array([0.1, 0.1], np.float32)
    envs.reset([3])
    env.reset(seed=3)
    seen, rewards, _ = envs.step(action[None], np.ones(1, np.bool_))
    expected = env.step(action)
    np.testing.assert_array_equal(seen[0], expected[0])
    assert rewards[0] == pytest.approx(expected[1])
    assert not is_as_written(env, "batched")


def test_a_limit_that_is_asked_for_counts_where_environments_are_stepped_together():
    task = {"goal_x": 0.1}
    envs = make_task_envs("synrl_ray/Navigation-v0", {"max_episode_steps": 3}, [task], {"goal_x": "keyword"}, 1)
    envs.reset([0])
    ended = [bool(envs.step(np.zeros((1, 2), np.float32), np.ones(1, np.bool_))[2][0]) for _ in range(3)]
    assert ended == [False, False, True]


def test_what_gymnasium_has_given_a_meaning_is_no_parameter():
    env = make_environment("CartPole-v1")
    for name in ("observation_space", "action_space", "np_random", "spec", "_np_random"):
        with pytest.raises(UserError, match=f"has no parameter '{name}'"):
            places_of(env, "CartPole-v1", [name])


def test_a_text_where_a_number_is_needed_is_named():
    with pytest.raises(UserError, match="goal_x = 'a' is no number"):
        make_task_envs("synrl_ray/Navigation-v0", {}, [{"goal_x": "a"}], {"goal_x": "keyword"}, 1)
    with pytest.raises(UserError, match=r"goal_x = 1000.* is no number"):
        make_task_envs("synrl_ray/Navigation-v0", {}, [{"goal_x": 10**400}], {"goal_x": "keyword"}, 1)
