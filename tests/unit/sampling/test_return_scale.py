"""Rewards in units of the spread of the discounted return, against gymnasium's wrapper."""

import gymnasium as gym
import numpy as np
import pytest

from synrl_ray.sampling.return_scale import ReturnScale
from synrl_ray.sampling.rollout import Rollout


def fragment(rewards, starts=None, valid=None):
    rewards = np.asarray(rewards, np.float32)
    nothing = np.zeros_like(rewards)
    flags = np.zeros_like(rewards, np.bool_)
    return Rollout(
        observations=nothing,
        actions=nothing,
        inputs=nothing,
        logp=nothing,
        values=nothing,
        rewards=rewards,
        terminated=flags,
        truncated=flags,
        valid=~flags if valid is None else np.asarray(valid),
        starts=flags if starts is None else np.asarray(starts),
        states=nothing,
    )


def test_factor_is_one_over_the_deviation_of_the_discounted_returns():
    rewards = np.random.default_rng(0).normal(3, 2, (200, 1))
    returns, running = [], 0.0
    for reward in rewards[:, 0]:
        running = running * 0.9 + reward
        returns.append(running)
    scale = ReturnScale(0.9)
    factor = [scale.update([fragment(part)]) for part in np.split(rewards, 4)][-1]
    assert factor == pytest.approx(1 / np.std(returns), rel=1e-4)


def test_returns_end_with_episodes_and_leave_resets_out():
    scale = ReturnScale(1.0)
    starts = [[True], [False], [False], [True], [False]]
    valid = [[True], [True], [False], [True], [True]]
    factor = scale.update([fragment([[1], [1], [50], [3], [3]], starts, valid)])
    assert factor == pytest.approx(1 / np.std([1, 2, 3, 6]))


def test_runners_count_together():
    one, other = np.random.default_rng(1).normal(0, 5, (2, 30, 3))
    together = ReturnScale(0.5).update([fragment(np.concatenate((one, other), axis=1))])
    assert ReturnScale(0.5).update([fragment(one), fragment(other)]) == pytest.approx(together)


def test_a_lost_runner_is_no_error_and_a_checkpoint_goes_on():
    scale = ReturnScale(0.9)
    rewards = np.random.default_rng(2).normal(0, 1, (10, 2))
    scale.update([fragment(rewards), fragment(rewards)])
    scale.update([fragment(rewards)])
    again = ReturnScale(0.9)
    again.set_state(scale.get_state())
    fresh = fragment(rewards, np.eye(10, 2, dtype=bool) | (np.arange(10)[:, None] == 0))
    assert again.update([fresh]) == pytest.approx(scale.update([fresh]), rel=1e-6)


def test_rewards_that_are_all_equal_stay_as_they_are():
    assert ReturnScale(0.0).update([fragment(np.ones((5, 2)))]) == 1.0


def test_close_to_gymnasiums_wrapper():
    env = gym.wrappers.NormalizeReward(gym.make("Pendulum-v1"), gamma=0.99, epsilon=0.0)
    raw = gym.make("Pendulum-v1")
    env.reset(seed=0)
    raw.reset(seed=0)
    rewards = []
    for _ in range(199):
        action = np.array([0.5], np.float32)
        scaled = env.step(action)[1]
        rewards.append(raw.step(action)[1])
    factor = ReturnScale(0.99).update([fragment(np.array(rewards)[:, None])])
    assert factor == pytest.approx(scaled / rewards[-1], rel=0.05)  # its counts start at 1e-4, its mean at 0
