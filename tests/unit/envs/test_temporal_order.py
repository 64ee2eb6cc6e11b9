"""The order of two cues as an environment: its contract, what its spikes tell, and what they do not."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from played_trials import played

import synrl_ray  # noqa: F401 (registers it)
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.spike_trials import CHANCE, OPTIMUM
from synrl_ray.envs.temporal_order import TemporalOrderEnv
from synrl_ray.errors import UserError

trials = partial(played, TemporalOrderEnv)


def mean_return(policy, number=400):
    """Of episodes, where the policy sees the observation."""
    env, returns = TemporalOrderEnv(trials=4), []
    for n in range(number):
        (observation, _), total, ended = env.reset(seed=n), 0.0, False
        while not ended:
            observation, reward, ended, _, _ = env.step(policy(observation))
            total += reward
        returns.append(total)
    return np.mean(returns), 4 * np.std(returns) / np.sqrt(number)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/TemporalOrder-v0").unwrapped, skip_render_check=True)


def test_its_settings_are_those_of_gymnasiums_make():
    env = make_environment("synrl_ray/TemporalOrder-v0", {"cue_inputs": 3, "go_inputs": 0, "distractors": 1})
    assert env.observation_space.shape == (60, 7)


def test_every_input_fires_once_in_every_trial_whatever_the_order():
    observations, right = trials()
    assert set(np.unique(observations)) == {0.0, 1.0}
    assert (observations.sum(axis=1) == 1).all()
    assert 150 < right.sum() < 250


def test_a_readout_of_counts_is_at_chance_and_one_of_times_is_right():
    def latency(observation, cue):
        return observation[:, 20 * cue : 20 * cue + 20].argmax(axis=0).mean()

    counts = np.random.default_rng(0).normal(size=90)
    mean, error = mean_return(lambda seen: np.int64(seen.sum(axis=0) @ counts > 0))
    assert abs(mean - CHANCE) < error
    assert mean_return(lambda seen: np.int64(latency(seen, 0) > latency(seen, 1))) == (OPTIMUM, 0.0)


def test_spikes_of_each_step_tell_nothing_either():
    """All that a sum over inputs keeps: the same, whichever cue came first."""
    observations, right = trials(distractors=0, jitter=0)
    steps = observations.sum(axis=2)
    first = steps.argmax(axis=1)
    for action in (0, 1):
        assert set(first[right == action]) == set(first)
        np.testing.assert_array_equal(np.unique(steps[right == action], axis=0), np.unique(steps, axis=0))


@pytest.mark.parametrize(("delay", "jitter"), [(30, 3), (7, 3), (1, 0)])
def test_cues_are_the_delay_apart_and_the_go_signal_is_between_them(delay, jitter):
    observations, right = trials(delay=delay, jitter=jitter, cue_inputs=4, go_inputs=5, distractors=2)
    times = observations.argmax(axis=1)  # [S, I]
    centres = [times[:, part].astype(float) for part in (slice(0, 4), slice(4, 8), slice(8, 13))]
    first, second = (np.where((right == 0)[:, None], *order) for order in (centres[:2], centres[1::-1]))
    assert (first.max(axis=1) < second.min(axis=1)).all()
    for late, expected in ((second, delay), (centres[2], delay // 2)):
        assert np.abs(late.mean(axis=1) - first.mean(axis=1) - expected).max() <= 2 * jitter
        assert (late - first[:, :1]).mean() == pytest.approx(expected, abs=0.5 if jitter else 1e-9)
    assert (np.ptp(centres[2], axis=1) == 0).all()
    assert np.ptp(times[:, 13]) > 50  # a distractor's come at any time


def test_right_choices_are_paid_and_the_last_trial_ends_the_episode():
    env = TemporalOrderEnv(trials=2)
    env.reset(seed=0)
    _, reward, *ends, info = env.step(np.int64(env.right_action))
    assert (reward, ends, info) == (0.5, [False, False], {})
    assert env.step(np.int64(1 - env.right_action))[1:4] == (0.0, True, False)


def test_equal_seeds_have_equal_trials():
    def play(seed):
        env = TemporalOrderEnv()
        return np.stack([env.reset(seed=seed)[0], *(env.step(np.int64(0))[0] for _ in range(5))])

    np.testing.assert_array_equal(play(1), play(1))
    assert not np.array_equal(play(1), play(2))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cue_inputs": 0}, r"cue_inputs=0 is no number for a trial — choose a whole number, 1 or more"),
        ({"distractors": -1}, r"distractors=-1 is no number .* 0 or more"),
        ({"delay": 2.5}, r"delay=2.5 is no number .* 1 or more"),
        ({"trials": True}, r"trials=True is no number"),
        ({"delay": 6}, r"cues 6 ms apart overlap, .* up to 3 ms — choose a delay above 6, or less jitter"),
        ({"duration": 36}, r"a trial of 36 ms is too short for cues 30 ms apart.* — choose a duration above 36"),
        ({"duration": 10**9}, r"trials of 1,000,000,000 ms and 90 inputs are too many — at most 1,048,576 numbers"),
        ({"trials": 10**9}, r"1,000,000,000 trials .* are too many"),
    ],
)
def test_bad_settings_are_refused_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        make_environment("synrl_ray/TemporalOrder-v0", kwargs)
    assert "\n" not in str(caught.value)
