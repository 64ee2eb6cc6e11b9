"""Arrays of a fragment, joined fragments and advantages, worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from synrl_ray.sampling.rollout import advantages, empty_rollout, join
from synrl_ray.sampling.seeding import draw_seeds

IMAGES, TURNS = Box(0, 255, (4, 5), np.uint8), Box(-1, 1, (3,), np.float32)


def test_an_empty_fragment_has_the_shapes_and_types_of_the_spaces():
    rollout = empty_rollout((6, 2), IMAGES, TURNS, 7, 9, 3)
    shapes = {name: (value.shape, value.dtype.name) for name, value in vars(rollout).items()}
    assert shapes == {
        "observations": ((6, 2, 4, 5), "uint8"),
        "actions": ((6, 2, 3), "float32"),
        "inputs": ((6, 2, 7), "float32"),
        "logp": ((6, 2), "float32"),
        "values": ((7, 2), "float32"),
        "rewards": ((6, 2), "float32"),
        "terminated": ((6, 2), "bool"),
        "truncated": ((6, 2), "bool"),
        "valid": ((6, 2), "bool"),
        "starts": ((6, 2), "bool"),
        "states": ((2, 2, 9), "float32"),
    }
    assert rollout.num_steps == 0
    discrete = empty_rollout((6, 2), Discrete(5), Discrete(3), 3, 0, 6)
    assert (discrete.observations.shape, discrete.actions.shape) == ((6, 2), (6, 2))
    assert (discrete.observations.dtype, discrete.actions.dtype) == (np.int64, np.int64)


def test_a_fragment_divides_into_whole_sequences():
    with pytest.raises(ValueError, match="a fragment of 6 steps does not divide into sequences of 4"):
        empty_rollout((6, 2), IMAGES, TURNS, 7, 9, 4)


def filled(number, num_steps=2):
    rollout = empty_rollout((num_steps, 1), IMAGES, Discrete(2), 1, 1, num_steps)
    rollout.values[:, 0] = np.arange(num_steps + 1) + 10 * number
    rollout.rewards[:] = number
    rollout.states[:] = number
    return rollout


def test_of_joined_fragments_only_the_last_keeps_the_value_of_what_follows():
    joined = join([filled(1), filled(2), filled(3)])
    assert joined.values[:, 0].tolist() == [10, 11, 20, 21, 30, 31, 32]
    assert joined.rewards[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert joined.states[:, 0, 0].tolist() == [1, 2, 3]
    assert join([filled(4)]).values[:, 0].tolist() == [40, 41, 42]


def test_advantages_by_hand():
    """gamma 0.5, lambda 0.5. Environment 0 is terminated at step 1 and reset at step 2; 1 is truncated at step 1."""
    rollout = empty_rollout((4, 2), IMAGES, Discrete(2), 1, 0, 4)
    rollout.values[:] = [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]
    rollout.rewards[:] = [[1, 1], [2, 2], [7, 7], [3, 3]]
    rollout.valid[:] = [[1, 1], [1, 1], [0, 0], [1, 1]]
    rollout.terminated[1, 0] = rollout.truncated[1, 1] = True
    last = 3 + 0.5 * 5 - 4
    ends_terminated, ends_truncated = 2 - 2, 2 + 0.5 * 3 - 2
    first = 1 + 0.5 * 2 - 1
    result = advantages(rollout, gamma=0.5, gae_lambda=0.5)
    assert result[:, 0].tolist() == [first + 0.25 * ends_terminated, ends_terminated, 0, last]
    assert result[:, 1].tolist() == [first + 0.25 * ends_truncated, ends_truncated, 0, last]
    assert result.dtype == np.float32


def test_seeds_are_of_the_runs_seed_the_runner_and_the_steps_in_this_order():
    def seeds(seed, worker, steps, number=3):
        return draw_seeds(SimpleNamespace(config=SimpleNamespace(seed=seed), worker_index=worker), steps, number)

    expected = [int(n) for n in np.random.SeedSequence([5, 2, 100]).generate_state(3)]
    assert seeds(5, 2, 100) == expected
    assert all(type(seed) is int for seed in expected)
    places = [(5, 2, 100), (2, 5, 100), (5, 100, 2), (5, 3, 100), (5, 2, 101), (6, 2, 100)]
    drawn = [seed for place in places for seed in seeds(*place)]
    assert len(set(drawn)) == len(drawn), "no two runners, runs or points of a run share a seed"
    assert seeds(None, None, 7) == seeds(0, 0, 7)
    assert len(seeds(1, 1, 1, number=5)) == 5
