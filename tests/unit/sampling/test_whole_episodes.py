"""Whole episodes without Ray, of environments that end late or never."""

import gymnasium as gym
import numpy as np
import pytest
from failing_env import ENV_ID, Failing
from test_rollouts_with_failures import runner_of

from synrl_ray.algorithms.on_policy.train_batch import train_batch
from synrl_ray.envs import time_limit
from synrl_ray.experiment import Reinforce
from synrl_ray.sampling.rollout import advantages
from synrl_ray.sampling.vector import make_vector

NEVER = 10**9


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(time_limit, "MOST_STEPS", 70)  # more than a piece, and no multiple of one


@pytest.mark.usefixtures("short")
def test_an_episode_that_never_ends_is_truncated_and_bootstrapped():
    runner = runner_of(Reinforce(), length=NEVER)
    rollout = runner.sample()
    assert rollout.valid.sum(axis=0).tolist() == [70, 70]
    assert rollout.num_steps == 140
    assert np.argwhere(rollout.truncated).tolist() == [[69, 0], [69, 1]]
    assert not rollout.terminated.any()
    result = advantages(rollout, 0.9, 1.0)[69]
    expected = rollout.rewards[69] + 0.9 * rollout.values[70] - rollout.values[69]
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert (rollout.values[70] != 0).all()
    assert train_batch([rollout], gamma=0.9, gae_lambda=1.0, standardise=False)["loss_mask"].sum() == 140


@pytest.mark.usefixtures("short")
def test_a_cut_episode_is_reported_as_one_that_was_cut():
    runner = runner_of(Reinforce(), length=NEVER)
    runner.sample()
    metrics = runner.get_metrics()
    assert metrics["num_episodes"].peek() == 2
    assert metrics["episode_len_mean"].peek() == 70
    assert metrics["episode_return_mean"].peek() == 70
    assert metrics["num_episodes_cut"].peek() == 2


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("length", [69, 70])
def test_an_episode_that_ends_in_time_is_whole(length):
    runner = runner_of(Reinforce(), length=length)
    rollout = runner.sample()
    assert not rollout.truncated.any()
    assert rollout.terminated.sum() == 2
    assert "num_episodes_cut" not in runner.get_metrics()


@pytest.mark.usefixtures("short")
def test_the_environments_own_limit_comes_first():
    runner = runner_of(Reinforce(), length=NEVER, max_episode_steps=100)
    rollout = runner.sample()
    assert rollout.valid.sum(axis=0).tolist() == [100, 100]
    assert "num_episodes_cut" not in runner.get_metrics()


def test_time_limits_are_found_wherever_they_stand():
    limited = gym.wrappers.TimeLimit(Failing(), 5)
    assert time_limit.time_limit(limited) == 5
    assert time_limit.time_limit(Failing()) is None
    assert time_limit.most_steps(Failing()) == time_limit.MOST_STEPS
    for env_id, kwargs, limit in (
        ("CartPole-v1", {}, 500),
        ("CartPole-v1", {"max_episode_steps": 7}, 7),
        ("MountainCar-v0", {}, 200),
        ("MountainCar-v0", {"max_episode_steps": -1}, None),
        (ENV_ID, {}, None),
        (ENV_ID, {"max_episode_steps": 9}, 9),
    ):
        assert time_limit.time_limit(make_vector(env_id, kwargs, 2)) == limit
