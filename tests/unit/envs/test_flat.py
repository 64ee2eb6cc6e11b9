"""Observations of several parts as one vector, against Gymnasium's own, and masks of actions among them."""

import pickle
from collections import OrderedDict
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.vector.utils import batch_space

from synrl_ray.envs.checked import EnvironmentFailure, checked, require_working
from synrl_ray.envs.contract import Breach, reader_of
from synrl_ray.envs.flat import FlatSpace, action_mask, flat_size, flattened

NESTED = spaces.Dict(
    {
        "speed": spaces.Box(-2, 3, (2, 2), np.float64),
        "gear": spaces.Discrete(3, start=-1),
        "more": spaces.Tuple((spaces.MultiBinary(2), spaces.Dict({"b": spaces.MultiDiscrete([2, 3])}))),
        "pixels": spaces.Box(0, 255, (2, 1, 3), np.uint8),
    }
)
COMPOSITES = [
    NESTED,
    spaces.Dict(OrderedDict(z=spaces.Discrete(2), a=spaces.Box(0, 1, ()))),
    spaces.Tuple((spaces.Discrete(4), NESTED)),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary([2, 3]),
]


@pytest.mark.parametrize("space", COMPOSITES, ids=str)
def test_vectors_and_bounds_are_those_of_gymnasium(space):
    flat, expected = flattened(space), flatten_space(space)
    assert flat.shape == expected.shape
    assert flat_size(space) == expected.shape[0]
    np.testing.assert_allclose((flat.low, flat.high), (expected.low, expected.high))
    space.seed(0)
    for _ in range(20):
        observation = space.sample()
        found = flat.flatten(observation)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, flatten(space, observation), rtol=1e-6)
        assert flat.contains(found)
    assert flat.contains(flat.sample())


@pytest.mark.parametrize("space", COMPOSITES, ids=str)
def test_batches_of_arrays_and_of_tensors_give_their_rows(space):
    flat, batch = flattened(space), batch_space(space, 4)
    batch.seed(1)
    sampled = batch.sample()
    found = flat.flatten(sampled)
    assert found.shape == (4, *flat.shape)
    rows = [flatten(space, one) for one in gym.vector.utils.iterate(batch, sampled)]
    np.testing.assert_allclose(found, rows, rtol=1e-6)

    def tensors(part):
        if isinstance(part, dict):
            return {key: tensors(value) for key, value in part.items()}
        return tuple(map(tensors, part)) if isinstance(part, tuple) else torch.from_numpy(np.asarray(part))

    given = flat.flatten(tensors(sampled), torch)
    assert given.dtype == torch.float32
    np.testing.assert_array_equal(given.numpy(), found)


def test_the_order_is_that_of_the_space():
    by_key = FlatSpace(spaces.Dict({"z": spaces.Discrete(2), "a": spaces.Box(0, 1, (1,))}))
    as_given = FlatSpace(spaces.Dict(OrderedDict(z=spaces.Discrete(2), a=spaces.Box(0, 1, (1,)))))
    observation = {"z": 1, "a": [0.5]}
    assert by_key.flatten(observation).tolist() == [0.5, 0.0, 1.0]
    assert as_given.flatten(observation).tolist() == [0.0, 1.0, 0.5]


def test_a_flat_space_equals_its_like_and_is_copied_and_sent():
    flat = FlatSpace(NESTED)
    for other in (FlatSpace(NESTED), deepcopy(flat), pickle.loads(pickle.dumps(flat))):
        assert other == flat
        assert other.flatten(NESTED.sample()).shape == flat.shape
    assert flat != spaces.Box(flat.low, flat.high)
    assert flat != FlatSpace(spaces.Dict({"a": spaces.Discrete(2)}))
    assert str(flat) == str(NESTED)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 1, (2,)),
        spaces.Discrete(3),
        spaces.Dict({"a": spaces.Text(3)}),
        spaces.Dict({}),
        spaces.Dict({"a": spaces.Discrete(2**40)}),
        spaces.Sequence(spaces.Discrete(2)),
    ],
    ids=str,
)
def test_what_has_no_parts_or_cannot_be_flattened_stays(space):
    assert flattened(space) is space
    assert flattened(flattened(NESTED)) == flattened(NESTED)


@pytest.mark.parametrize(
    ("observation", "says"),
    [
        ({"gear": 1}, r"an observation \['gear'\], its space is a Dict of \['gear', 'more', 'pixels', 'speed'\]"),
        (3, "an observation int, its space is a Dict of"),
        ({"gear": 7}, r"in 'gear' the observation 7, its observation space is Discrete"),
        ({"speed": np.zeros(3)}, r"in 'speed' an observation of shape \(3,\)"),
        ({"more": (np.zeros(2, np.int8),)}, "in 'more' tuple of 1, its observation space is a tuple of 2"),
        ({"more": (np.array([0, 2]), {"b": [0, 0]})}, r"in 'more' in part 0 the observations array\(\[0, 2\]"),
        (
            {"more": (np.zeros(2), {"b": [0, 3]})},
            r"in 'more' in part 0 an observation of shape \(2,\) and dtype float64",
        ),
    ],
)
def test_what_an_environment_returns_is_held_to_every_part(observation, says):
    whole = NESTED.sample() if isinstance(observation, dict) and observation != {"gear": 1} else {}
    given = {**whole, **observation} if isinstance(observation, dict) else observation
    with pytest.raises(Breach, match=says):
        reader_of(NESTED)(given)


def masked_space(mask, observations=None, **more):
    return FlatSpace(
        spaces.Dict({"observations": observations or spaces.Box(-1, 1, (2,)), "action_mask": mask, **more})
    )


@pytest.mark.parametrize(
    ("mask", "actions", "sizes"),
    [
        (spaces.Box(0, 1, (3,), np.int8), spaces.Discrete(3), (3,)),
        (spaces.Box(0.0, 1.0, (3,)), spaces.Discrete(3), (3,)),
        (spaces.MultiBinary(3), spaces.Discrete(3), (3,)),
        (spaces.MultiBinary(5), spaces.MultiDiscrete([2, 3]), (2, 3)),
        (spaces.Tuple((spaces.MultiBinary(2), spaces.MultiBinary(3))), spaces.MultiDiscrete([2, 3]), (2, 3)),
    ],
)
def test_a_mask_fits_its_actions(mask, actions, sizes):
    space = masked_space(mask, before=spaces.Discrete(4), a=spaces.Discrete(7))
    found = action_mask(space, actions)
    assert found.sizes == sizes
    assert found.where == slice(7, 7 + sum(sizes))  # 'a', 'action_mask', 'before', 'observations'


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (masked_space(spaces.MultiBinary(4)), spaces.Discrete(3)),
        (masked_space(spaces.Box(-1, 1, (3,))), spaces.Discrete(3)),
        (masked_space(spaces.Discrete(3)), spaces.Discrete(3)),
        (masked_space(spaces.MultiDiscrete([2, 1])), spaces.Discrete(3)),
        (masked_space(spaces.Tuple((spaces.MultiBinary(3), spaces.MultiBinary(2)))), spaces.MultiDiscrete([2, 3])),
        (masked_space(spaces.MultiBinary(3)), spaces.MultiBinary(3)),
        (masked_space(spaces.MultiBinary(3)), spaces.Box(-1, 1, (3,))),
        (
            FlatSpace(spaces.Dict({"observation": spaces.Discrete(2), "action_mask": spaces.MultiBinary(3)})),
            spaces.Discrete(3),
        ),
        (FlatSpace(spaces.MultiBinary(3)), spaces.Discrete(3)),
        (spaces.Box(0, 1, (3,)), spaces.Discrete(3)),
    ],
)
def test_a_dictionary_that_merely_has_these_keys_has_no_mask(space, actions):
    assert action_mask(space, actions) is None


def test_what_is_allowed_by_hand():
    mask = action_mask(masked_space(spaces.MultiBinary(5)), spaces.MultiDiscrete([2, 3]))
    rows = np.array([[1, 0, 0, 1, 1, 9, 9], [1, 1, 0, 0, 0, 9, 9], [0, 0, 1, 1, 1, 9, 9]], np.float32)
    assert mask.allowed(rows).tolist() == (rows[:, :5] > 0).tolist()
    assert mask.forbids_all(rows).tolist() == [False, True, True]
    assert mask.allowed(torch.from_numpy(rows)).tolist() == mask.allowed(rows).tolist()


class Toy(gym.Env):
    """Allows what it is told to, and raises for other actions."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Dict({"observations": spaces.Discrete(2), "action_mask": spaces.MultiBinary(3)})

    def __init__(self, masks, actions=None, ends=False):
        self.masks, self.ends = masks, ends
        if actions is not None:
            self.action_space = actions
            self.observation_space = masked_space(spaces.MultiBinary(5), spaces.Discrete(2)).original

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        index = action if isinstance(self.action_space, spaces.Discrete) else np.add(action, [0, 2])
        assert np.all(np.asarray(self.masks[self.steps])[index]), f"{action} is not allowed"
        self.steps += 1
        return self.observe(), 1.0, self.ends, not self.ends, {}

    def observe(self):
        return {"observations": 1, "action_mask": np.array(self.masks[self.steps], np.int8)}


def test_a_checked_environment_gives_vectors():
    env = checked(Toy([[0, 1, 0], [1, 1, 1]]))
    assert env.observation_space == FlatSpace(Toy.observation_space)
    assert env.reset()[0].tolist() == [0, 1, 0, 0, 1]
    assert env.step(1)[0].tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("call", ["reset", "step"])
def test_a_mask_that_allows_no_action_names_the_environment(call):
    env = checked(Toy([[0, 0, 0]] if call == "reset" else [[1, 0, 0], [0, 0, 0]]), "Toy-v0")
    said = rf"^environment 'Toy-v0' failed: {call}\(\) returned an action mask that allows no action — allow one"
    if call == "step":
        env.reset()
    with pytest.raises(EnvironmentFailure, match=said):
        env.reset() if call == "reset" else env.step(0)


def test_nothing_need_be_allowed_at_termination():
    env = checked(Toy([[1, 0, 0], [0, 0, 0]], ends=True))
    env.reset()
    assert env.step(0)[2]


def test_a_truncated_step_needs_an_allowed_action_for_the_value_behind_it():
    env = checked(Toy([[1, 0, 0], [0, 0, 0], [0, 1, 0]]))  # truncates in every step
    env.reset()
    with pytest.raises(EnvironmentFailure, match=r"allows no action — allow one, or terminate the episode$"):
        env.step(0)
    env.unwrapped.masks[1] = [1, 0, 0]
    env.reset()
    assert env.step(0)[2:4] == (False, True)


@pytest.mark.parametrize(
    ("mask", "actions"), [([0, 0, 1], None), ([0, 1, 0, 0, 1], spaces.MultiDiscrete([2, 3]))], ids=["one", "several"]
)
def test_the_first_try_of_an_environment_takes_an_allowed_action(mask, actions):
    made = []
    for _ in range(5):
        made.append(checked(Toy([mask, mask], actions)))
        require_working(lambda: made[-1])
    assert all(env.unwrapped.steps == 1 for env in made)
