"""Exclusive or of two latencies as an environment: what its spikes tell, and what they do not."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from played_trials import spike_times

import synrl_ray  # noqa: F401 (registers it)
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.time_to_first_spike import TimeToFirstSpikeEnv
from synrl_ray.errors import UserError

trials = partial(spike_times, TimeToFirstSpikeEnv)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/TimeToFirstSpike-v0").unwrapped, skip_render_check=True)


def test_bits_are_early_or_late_and_the_answer_is_whether_they_differ():
    times, right = trials(jitter=2, bit_inputs=3, go_inputs=4, distractors=1)
    go = times[:, 6]
    assert (np.ptp(times[:, 6:10], axis=1) == 0).all()
    before = go[:, None] - times[:, :6]  # 20 for late spikes, 50 for early ones
    bits = (before < 35).reshape(-1, 2, 3)
    assert (bits == bits[:, :, :1]).all()
    np.testing.assert_array_equal(bits[:, 0, 0] != bits[:, 1, 0], right == 1)
    assert set(np.unique(np.where(before < 35, before - 20, before - 50))) == {-2, -1, 0, 1, 2}
    pairs = np.unique(bits[:, :, 0], axis=0, return_counts=True)[1]
    assert len(pairs) == 4
    assert min(pairs) > 70
    assert go.min() == 52
    assert go.max() == 79
    assert np.ptp(times[:, 10]) > 60


def test_no_weighted_sum_of_latencies_tells_the_answer():
    """Exclusive or is not linear, whatever the weights; one bit's latency alone is at chance too."""
    times, right = trials(number=4000, jitter=0, distractors=0)
    latencies = (times[:, [0, 20]] - times[:, 40:41]).astype(float)
    features = np.concatenate((latencies, np.ones((len(latencies), 1))), axis=1)
    weights = np.linalg.lstsq(features, 2.0 * right - 1, rcond=None)[0]
    assert abs(((features @ weights > 0) == right).mean() - 0.5) < 0.05
    for bit in (0, 1):
        assert abs((latencies[:, bit] > latencies[:, bit].mean()).astype(int).dot(2 * right - 1)) < 4 * np.sqrt(2000)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bit_inputs": 0}, r"bit_inputs=0 is no number for a trial — choose a whole number, 1 or more"),
        ({"after": -1}, r"after=-1 is no number .* 0 or more"),
        ({"delay": 2}, r"spikes 2 ms apart overlap, .* up to 1 ms — choose a delay above 2, or less jitter"),
        ({"duration": 51}, r"a trial of 51 ms is too short .* — choose a duration above 51"),
        ({"after": 0, "duration": 32}, r"a trial of 32 ms is too short .* above 32"),
        ({"duration": 10**9}, r"trials of 1,000,000,000 ms and 110 inputs are too many"),
    ],
)
def test_bad_settings_are_refused_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message):
        make_environment("synrl_ray/TimeToFirstSpike-v0", kwargs)


def test_the_shortest_trial_that_is_accepted_works():
    assert trials(duration=52, number=50)[0].max() == 51
    assert trials(after=0, duration=33, number=50)[0].max() <= 32
