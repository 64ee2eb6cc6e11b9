from types import SimpleNamespace

import numpy as np
import pytest

from synrl_ray.policies.recording import ObservationRecorder


class Counting:
    """Its state counts the calls; its action doubles the observation."""

    def initial_state(self, batch):
        return np.zeros((batch, 1), np.float32)

    def act(self, observations, state, *, deterministic):
        self.deterministic = deterministic
        return 2 * observations[:, 0], state + 1


def batch(*values):
    return np.array(values, np.float32)[:, None]


@pytest.fixture
def recorder():
    return ObservationRecorder(Counting(), 4)


def play(recorder, *batches):
    state = recorder.initial_state(len(batches[0]))
    actions = []
    for observations in batches:
        action, state = recorder.act(observations, state)
        actions.append(action.tolist())
    return SimpleNamespace(actions=actions, state=state)


def test_first_observations_are_kept_with_the_states_before_them(recorder):
    play(recorder, batch(1, 2, 3), batch(4, 5, 6), batch(7, 8, 9))
    assert recorder.observations.tolist() == [[1], [2], [3], [4]]
    assert recorder.states.tolist() == [[0], [0], [0], [1]]
    assert recorder.count == 4


def test_fewer_than_asked_are_all_kept(recorder):
    play(recorder, batch(1), batch(2))
    assert (recorder.observations.tolist(), recorder.states.tolist(), recorder.count) == ([[1], [2]], [[0], [1]], 2)


def test_a_batch_larger_than_the_room_is_cut(recorder):
    play(recorder, batch(*range(9)))
    assert (recorder.observations.tolist(), recorder.count) == ([[0], [1], [2], [3]], 4)


def test_it_acts_as_the_policy_also_when_nothing_more_is_kept(recorder):
    played = play(recorder, batch(1, 2, 3), batch(4, 5, 6), batch(7, 8, 9))
    assert played.actions == [[2, 4, 6], [8, 10, 12], [14, 16, 18]]
    assert played.state.tolist() == [[3], [3], [3]]


@pytest.mark.parametrize("deterministic", [True, False])
def test_way_of_choosing_is_handed_on(recorder, deterministic):
    recorder.act(batch(1), recorder.initial_state(1), deterministic=deterministic)
    assert recorder.policy.deterministic is deterministic


def test_what_is_kept_does_not_change_with_the_callers_arrays(recorder):
    observations, state = batch(1, 2), np.zeros((2, 1), np.float32)
    recorder.act(observations, state)
    observations[:], state[:] = 99, 99
    assert (recorder.observations.tolist(), recorder.states.tolist()) == ([[1], [2]], [[0], [0]])
