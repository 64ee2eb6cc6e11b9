"""The dynamics of 2D navigation, by hand."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs.navigation import Navigation, NavigationEnv
from synrl_ray.errors import UserError


@pytest.mark.filterwarnings("ignore:.*space m.*value is")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/Navigation-v0", goal_x=0.3).unwrapped, skip_render_check=True)


def test_a_walk_by_hand():
    env = NavigationEnv(goal_x=0.25, goal_y=-0.1)
    assert env.reset(seed=3)[0].tolist() == [0.0, 0.0]
    seen, reward, terminated, truncated, _ = env.step(np.array([7.0, -0.05], np.float32))  # clipped to 0.1
    np.testing.assert_allclose(seen, [0.1, -0.05], rtol=1e-6)
    assert reward == pytest.approx(-(0.15**2 + 0.05**2))
    assert (terminated, truncated) == (False, False)
    env.step(np.array([0.1, -0.05], np.float32))
    seen, reward, terminated, _, _ = env.step(np.array([0.045, 0.0], np.float32))  # 0.005 from the goal
    assert (round(reward, 6), terminated) == (-0.000025, True)


def test_the_time_limit_truncates():
    env = NavigationEnv(goal_x=0.5, time_limit=2)
    env.reset(seed=0)
    assert [env.step(np.zeros(2, np.float32))[2:4] for _ in range(2)] == [(False, False), (False, True)]


def test_what_has_ended_stays_and_is_paid_nothing():
    envs = Navigation(2, {"goal_x": np.array([0.1, 0.5])})
    envs.reset([])
    right = np.full((2, 2), [0.1, 0.0])
    _, _, terminated = envs.step(right, np.ones(2, np.bool_))
    assert terminated.tolist() == [True, False]
    seen, rewards, terminated = envs.step(right, ~terminated)
    np.testing.assert_allclose(seen, [[0.1, 0.0], [0.2, 0.0]], rtol=1e-6)
    assert rewards.tolist() == [0.0, pytest.approx(-0.09)]
    assert terminated.tolist() == [False, False]


@pytest.mark.parametrize(
    ("settings", "message"), [({"goal_x": np.nan}, "goal_x=nan is not finite"), ({"time_limit": 0}, "no move")]
)
def test_what_cannot_be_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        NavigationEnv(**settings)
