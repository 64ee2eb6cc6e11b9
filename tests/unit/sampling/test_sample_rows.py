"""Rows from all over a rollout, with the states before them."""

import numpy as np
from gymnasium import spaces

from synrl_ray.sampling.rollout import empty_rollout, sample_rows

OBS, ACTIONS = spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2)


def rollout(state_size, length=3):
    """Six steps of two environments; an observation says where it is: 10 * step + environment."""
    made = empty_rollout((6, 2), OBS, ACTIONS, 2, state_size, length if state_size else 6)
    made.observations[..., 0] = np.add.outer(10 * np.arange(6), np.arange(2))
    made.valid[:] = True
    made.valid[2, 1] = False
    if state_size:
        made.states[..., 0] = [[1, 2], [3, 4]]
        made.starts[3, 1] = True
    return made


def test_without_state_all_valid_steps_are_drawn_from_evenly():
    observations, states = sample_rows([rollout(0)], 4)
    assert observations[:, 0].tolist() == [0, 11, 31, 51], "rows 0, 3, 6 and 10 of the eleven that are valid"
    assert states.shape == (4, 0)
    assert len(sample_rows([rollout(0)], 100)[0]) == 11
    assert len(sample_rows([rollout(0), rollout(0)], 4)[0]) == 4


def test_with_a_state_those_steps_before_which_it_was_kept():
    observations, states = sample_rows([rollout(1)], 100)
    assert observations[:, 0].tolist() == [0, 1, 30, 31]
    assert states[:, 0].tolist() == [1, 2, 3, 0], "the last one starts an episode"


def test_nothing_valid_gives_no_rows():
    nothing = rollout(0)
    nothing.valid[:] = False
    assert sample_rows([nothing], 5)[0].shape == (0, 1)
