import pickle

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("Box2D")

from gymnasium.envs.box2d.car_racing import PLAYFIELD

from synrl_ray.envs.car_racing_drawing import DrawnFast, DrawnOnDemand

FULL_THROTTLE = np.array([0.0, 1.0, 0.0])


def random_actions(seed, number):
    rng = np.random.default_rng(seed)
    return rng.uniform([-1, 0, 0], [1, 1, 0.3], (number, 3))


def sines(number):
    return [np.array([0.3 * np.sin(t / 15), 0.2, 0.0]) for t in range(number)]


def shift(env, x, y):
    """Move the car."""
    for body in (env.car.hull, *env.car.wheels):
        body.position = (body.position[0] + x, body.position[1] + y)


def assert_same_pictures(actions, seed, move=(0.0, 0.0), **kwargs):
    gymnasiums, fast, barless = gym.make("CarRacing-v3", **kwargs).unwrapped, DrawnFast(**kwargs), DrawnFast(bar=False)
    observation, _ = gymnasiums.reset(seed=seed)
    for env in (fast, barless):
        env.reset(seed=seed)
    np.testing.assert_array_equal(fast.picture(), observation)
    for env in (gymnasiums, fast, barless):
        shift(env, *move)
    for step, action in enumerate(actions):
        observation, reward, terminated, _, _ = gymnasiums.step(action)
        _, fast_reward, fast_terminated, _, _ = fast.step(action)
        barless.step(action)
        assert (reward, terminated) == (fast_reward, fast_terminated)
        assert np.array_equal(fast.picture(), observation), (seed, step)
        if not kwargs:
            assert np.array_equal(barless.picture()[:84], observation[:84]), (seed, step)
        if terminated:
            break


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fast_pictures_equal_gymnasiums_under_random_actions(seed):
    assert_same_pictures(random_actions(seed, 120), seed)


@pytest.mark.parametrize("seed", [3, 4])
def test_fast_pictures_equal_gymnasiums_at_full_throttle(seed):
    assert_same_pictures([FULL_THROTTLE] * 120, seed)


def test_fast_pictures_equal_gymnasiums_on_the_track():
    assert_same_pictures(sines(120), 5)


def test_fast_pictures_equal_gymnasiums_at_the_edge_of_the_field():
    # The race begins at 225 m; from 300 m the black beyond the edge is in sight.
    assert_same_pictures(sines(80), 6, move=(PLAYFIELD - 1 - 228, 40.0))


def test_fast_pictures_equal_gymnasiums_in_random_colours():
    assert_same_pictures(sines(20), 7, domain_randomize=True)


def test_an_indicator_that_leaves_the_bar_is_drawn():
    gymnasiums, fast = gym.make("CarRacing-v3").unwrapped, DrawnFast(bar=False)
    for env in (gymnasiums, fast):
        env.reset(seed=0)
    fast.picture()
    for _ in range(60):  # over tiles, whose colour changes
        gymnasiums.step(FULL_THROTTLE)
        fast.step(FULL_THROTTLE)
    for env in (gymnasiums, fast):
        env.car.wheels[2].omega = 900.0
    observation = gymnasiums.step(FULL_THROTTLE)[0]
    fast.step(FULL_THROTTLE)
    np.testing.assert_array_equal(fast.picture()[:84], observation[:84])


@pytest.mark.parametrize("kind", [DrawnOnDemand, DrawnFast])
def test_steps_draw_nothing_and_rendering_is_gymnasiums(kind):
    gymnasiums = gym.make("CarRacing-v3", render_mode="rgb_array").unwrapped
    env = kind(render_mode="rgb_array")
    for each in (gymnasiums, env):
        each.reset(seed=0)
        for _ in range(10):
            observation = each.step(FULL_THROTTLE)[0]
    assert not observation.any()
    np.testing.assert_array_equal(env.render(), gymnasiums.render())
    np.testing.assert_array_equal(env.picture(), gymnasiums.state)


def test_a_pickled_environment_keeps_its_arguments():
    env = pickle.loads(pickle.dumps(DrawnFast(bar=False, lap_complete_percent=0.5)))
    assert (env.bar, env.lap_complete_percent) == (False, 0.5)
