"""A theta cycle of place cells as an environment: what its spikes tell, and what they do not."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from played_trials import spike_times

import synrl_ray  # noqa: F401 (registers it)
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.theta_track import ThetaTrackEnv
from synrl_ray.errors import UserError

trials = partial(spike_times, ThetaTrackEnv)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_passes():
    check_env(gym.make("synrl_ray/ThetaTrack-v0").unwrapped, skip_render_check=True)


def test_places_fire_in_the_order_in_which_they_are_passed_around_the_go_signal():
    times, right = trials(places=5, cells=2, go_inputs=3, distractors=1, jitter=0)
    assert (times[:, 10:13] == 40).all()
    order = np.sign(np.diff(times[:, :10:2], axis=1))
    np.testing.assert_array_equal(order, np.where(right == 1, 1, -1)[:, None].repeat(4, axis=1))
    np.testing.assert_array_equal(times[:, 0:10:2], times[:, 1:10:2])
    assert set(np.unique(np.abs(np.diff(times[:, :10:2], axis=1)))) <= {6, 7, 8}, "lag, rounded"
    middle = times[:, 4] - 40
    assert (middle.min(), middle.max()) == (-7, 7), "the animal is up to a place from the middle"
    assert 150 < right.sum() < 250
    assert np.ptp(times[:, 13]) > 60


def test_jitter_moves_each_cell_by_itself_and_no_further():
    times, _ = trials(cells=4, wander=0, jitter=2)
    moved = np.abs(times[:, :36] - 40).reshape(-1, 9, 4) - 7 * np.abs(np.arange(9) - 4)[:, None]
    assert set(np.unique(moved[:, :4])) == {-2, -1, 0, 1, 2}
    assert (np.ptp(moved, axis=2) > 0).any()


@pytest.mark.parametrize("precession", [True, False])
def test_neither_the_number_of_spikes_in_each_step_nor_phases_without_precession_tell(precession):
    times, right = trials(number=6000, precession=precession)
    for answer in (0, 1):
        found = np.bincount(times[right == answer].ravel(), minlength=80) / (right == answer).sum()
        other = np.bincount(times.ravel(), minlength=80) / len(right)
        assert np.abs(found - other).max() < 0.1, "of one spike in a step, but for the go signal's"
    lags = (times[:, 48:54].mean(axis=1) - times[:, :6].mean(axis=1)) > 0
    agrees = (lags == right).mean()
    assert agrees == 1 if precession else abs(agrees - 0.5) < 0.03


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"cells": 0}, r"cells=0 is no number for a trial — choose a whole number, 1 or more"),
        ({"wander": -1}, r"wander=-1 is no number .* 0 or more"),
        ({"places": 8}, r"8 places have none in the middle — choose an odd number"),
        ({"wander": 4}, r"the last of 9 places, 7 ms each, may fire on either side of the go signal in a run — choose"),
        ({"lag": 1, "wander": 2, "jitter": 2}, r"may fire on either side"),
        ({"duration": 74}, r"a trial of 74 ms is too short for 9 places 7 ms apart — choose a duration above 74"),
        ({"precession": 1}, r"precession=1 is neither true nor false"),
        ({"duration": 10**9}, r"trials of 1,000,000,000 ms and 104 inputs are too many"),
    ],
)
def test_bad_settings_are_refused_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message):
        make_environment("synrl_ray/ThetaTrack-v0", kwargs)


def test_the_shortest_trial_that_is_accepted_works():
    times, _ = trials(duration=75, number=300)
    assert times[:, :54].min() == 0
    assert times[:, :54].max() == 74
