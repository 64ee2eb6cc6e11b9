from functools import cache

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from synrl_ray.envs import shower
from synrl_ray.envs.shower import ShowerEnv, optimal_return

STARTS = range(33, 44)


def comfortable(temperature):
    return 1 if abs(temperature - 38) <= 1 else -1


def towards_38(temperature):
    return 1 + (temperature < 38) - (temperature > 38)


def started_at(temperature, noise=False):
    env = ShowerEnv(noise=noise)
    env.reset(seed=0)
    env.temperature = temperature
    return env


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("noise", [True, False])
def test_gymnasiums_checker_passes(noise):
    check_env(gym.make("synrl_ray/Shower-v0", noise=noise, render_mode="ansi").unwrapped)


@pytest.mark.parametrize(("action", "change"), [(0, -1), (1, 0), (2, 1)])
def test_an_action_changes_the_temperature_by_one_degree_or_leaves_it(action, change):
    env = started_at(40)
    observation, _, _, _, info = env.step(np.int64(action))
    assert info == {"temperature": 40 + change}
    np.testing.assert_allclose(observation, [(40 + change) / 100, 59 / 60], rtol=1e-6)
    assert observation.dtype == np.float32


@pytest.mark.parametrize(("temperature", "reward"), [(35, -1), (36, -1), (37, 1), (38, 1), (39, 1), (40, -1), (41, -1)])
def test_reward_is_for_the_temperature_after_the_action_37_to_39(temperature, reward):
    assert started_at(temperature).step(np.int64(1))[1] == reward
    assert started_at(temperature - 1).step(np.int64(2))[1] == reward


@pytest.mark.parametrize(("temperature", "action"), [(0, 0), (100, 2)])
def test_temperature_stays_within_0_and_100_degrees(temperature, action):
    env = started_at(temperature)
    observation = env.step(np.int64(action))[0]
    assert env.temperature == temperature
    assert env.observation_space.contains(observation)


def test_noise_is_minus_one_zero_or_one_equally_likely():
    env = started_at(50, noise=True)
    changes = []
    for _ in range(3000):
        env.temperature = 50
        changes.append(env.step(np.int64(2))[4]["temperature"] - 51)
    values, counts = np.unique(changes, return_counts=True)
    assert values.tolist() == [-1, 0, 1]
    assert (np.abs(counts - 1000) < 4 * np.sqrt(3000 * 2 / 9)).all()


@pytest.mark.parametrize("noise", [True, False])
def test_episode_is_60_steps_and_terminates_without_truncation(noise):
    env = gym.make("synrl_ray/Shower-v0", noise=noise)
    env.reset(seed=1)
    ends = [env.step(1)[2:4] for _ in range(60)]
    assert ends == [(False, False)] * 59 + [(True, False)]


def test_starts_are_33_to_43_equally_likely_with_the_whole_minute_left():
    env = ShowerEnv()
    env.reset(seed=0)
    starts = []
    for _ in range(2200):
        observation, _ = env.reset()
        assert observation[1] == 1
        starts.append(env.temperature)
    values, counts = np.unique(starts, return_counts=True)
    assert values.tolist() == list(STARTS)
    assert (np.abs(counts - 200) < 4 * np.sqrt(200)).all()


def test_the_seed_decides_the_episode():
    def episode(seed):
        env = ShowerEnv()
        first, _ = env.reset(seed=seed)
        return np.array([first, *(env.step(np.int64(t % 3))[0] for t in range(60))])

    np.testing.assert_array_equal(episode(5), episode(5))
    assert not np.array_equal(episode(5), episode(6))


def test_render_tells_the_temperature():
    env = ShowerEnv(render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == f"{env.temperature} °C, 60 s left\n"
    assert ShowerEnv().render() is None


def test_best_return_without_noise_by_hand():
    # From 33 degrees three seconds are too cold, from 34 two, from 35 one; as many from 43, 42, 41. Each costs 2 of 60.
    assert optimal_return(noise=False) == pytest.approx((5 * 60 + 2 * (58 + 56 + 54)) / 11)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("seconds", [1, 2, 7])
def test_best_return_equals_the_recursion_over_all_outcomes(monkeypatch, noise, seconds):
    monkeypatch.setattr(shower, "SECONDS", seconds)
    outcomes = (-1, 0, 1) if noise else (0,)

    @cache
    def best(left, temperature):
        if left == 0:
            return 0.0
        totals = []
        for change in (-1, 0, 1):
            after = [min(max(temperature + change + n, 0), 100) for n in outcomes]
            totals.append(sum(comfortable(t) + best(left - 1, t) for t in after) / len(outcomes))
        return max(totals)

    assert optimal_return(noise) == pytest.approx(sum(best(seconds, start) for start in STARTS) / 11, abs=1e-12)


def transition_matrices():
    matrices = np.zeros((3, 101, 101))
    for action in range(3):
        for before in range(101):
            for noise in (-1, 0, 1):
                matrices[action, before, min(max(before + action - 1 + noise, 0), 100)] += 1 / 3
    return matrices


def expected_return(policy):
    """Exact, forwards in time: the distribution of temperatures under ``policy[second, temperature]``."""
    matrices, reward = transition_matrices(), np.array([comfortable(t) for t in range(101)])
    distribution, total = np.isin(np.arange(101), STARTS) / 11, 0.0
    for actions in policy:
        distribution = distribution @ matrices[actions, np.arange(101)]
        total += float(distribution @ reward)
    return total


OBVIOUS = np.tile([towards_38(t) for t in range(101)], (60, 1))


def test_towards_38_is_a_best_policy():
    assert expected_return(OBVIOUS) == pytest.approx(optimal_return(), abs=1e-9)


def test_no_policy_is_better():
    rng = np.random.default_rng(0)
    best = optimal_return()
    for share in np.linspace(0.005, 1, 200):  # from the best policy with few actions drawn anew to a random one
        drawn = np.where(rng.random(OBVIOUS.shape) < share, rng.integers(3, size=OBVIOUS.shape), OBVIOUS)
        assert expected_return(drawn) <= best + 1e-9


def test_played_episodes_of_the_best_policy_earn_the_best_return():
    env = ShowerEnv()
    env.reset(seed=123)
    returns = []
    for _ in range(400):
        env.reset()
        returns.append(sum(env.step(np.int64(towards_38(env.temperature)))[1] for _ in range(60)))
    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - optimal_return()) < 3 * error
