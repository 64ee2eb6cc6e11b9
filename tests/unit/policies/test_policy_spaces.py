import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.spaces import (
    ObservationEncoder,
    check_spaces,
    to_environment,
)

INF = np.inf


def box(low, high, dtype=np.float32):
    return spaces.Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


@pytest.mark.parametrize(
    ("observation_space", "action_space"),
    [
        (box([-1, -INF], [1, INF]), spaces.Discrete(2)),
        (spaces.Box(0, 255, (4, 4, 3), np.uint8), spaces.Discrete(3)),
        (spaces.Discrete(5, start=2), box([-1, -2], [1, 2])),
        (spaces.Box(0, 1, (), np.float32), box([-INF], [INF])),
    ],
)
def test_servable_spaces_pass(observation_space, action_space):
    assert check_spaces(observation_space, action_space) is None


@pytest.mark.parametrize(
    "space",
    [spaces.Text(3), spaces.Dict({"a": spaces.Text(3)}), spaces.Tuple(()), spaces.Sequence(spaces.Discrete(2))],
)
def test_refused_observation_space_is_named(space):
    with pytest.raises(UserError) as caught:
        check_spaces(space, spaces.Discrete(2), "Odd-v0")
    assert caught.value.message == f"Odd-v0 has the observation space {space}"
    assert "wrap the environment" in caught.value.remedy


@pytest.mark.parametrize(
    ("space", "remedy"),
    [
        (spaces.MultiDiscrete([2, 3], start=[0, 1]), "start=0"),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "one axis"),
        (spaces.MultiBinary([3, 2]), "one axis"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "wrap the environment"),
        (spaces.Discrete(3, start=1), "start=0"),
        (spaces.Box(0, 9, (2,), np.int32), "vector of floats"),
        (spaces.Box(-1, 1, (2, 2), np.float32), "vector of floats"),
        (spaces.Box(-1, 1, (), np.float32), "vector of floats"),
    ],
)
def test_refused_action_space_is_named(space, remedy):
    with pytest.raises(UserError) as caught:
        check_spaces(spaces.Discrete(4), space, "Odd-v0")
    assert caught.value.message == f"Odd-v0 has the action space {' '.join(str(space).split())}"
    assert remedy in caught.value.remedy


def test_box_actions_are_stretched_to_the_bounds():
    # low + (a + 1) (high - low) / 2: -2 + 1.5 * 4 / 2 = 1; 0 + 0.5 * 10 / 2 = 2.5
    actions = to_environment(box([-2, 0], [2, 10]), np.array([[0.5, -0.5], [-1.0, 1.0]], np.float32))
    np.testing.assert_array_equal(actions, np.array([[1.0, 2.5], [-2.0, 10.0]], np.float32))


def test_wide_bounds_are_stretched_to_as_well():
    space = spaces.Box(-1.5e38, 1.5e38, (1,), np.float32)
    np.testing.assert_allclose(to_environment(space, np.array([[0.2]], np.float32)), 3e37, rtol=1e-6)


def test_box_actions_outside_one_are_clipped_to_the_bounds():
    actions = to_environment(box([-2, 0], [2, 10]), np.array([[1.5, -7.0]], np.float32))
    np.testing.assert_array_equal(actions, np.array([[2.0, 0.0]], np.float32))


def test_unbounded_actions_pass_through_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actions = to_environment(box([-INF, -INF], [INF, INF]), np.array([[3.5, -70.0]], np.float32))
    np.testing.assert_array_equal(actions, np.array([[3.5, -70.0]], np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_box_actions_have_the_dtype_of_the_space(dtype):
    assert to_environment(box([-2], [2], dtype), np.zeros((1, 1), np.float32)).dtype == dtype


def test_discrete_actions_pass_unchanged():
    np.testing.assert_array_equal(to_environment(spaces.Discrete(3), np.array([2, 0])), [2, 0])


@pytest.mark.parametrize("space", [box([-2, 0], [2, 10]), box([-INF], [INF])], ids=["bounded", "unbounded"])
def test_evaluation_stretches_actions_inside_the_bounds_as_rllib_does(space):
    from ray.rllib.utils.spaces.space_utils import unsquash_action

    action = np.array([0.5, 0.75], np.float32)[: space.shape[0]]
    np.testing.assert_array_equal(to_environment(space, action[None])[0], unsquash_action(action, space))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_each_dimension_keeps_the_bounds_that_it_has(dtype):
    # bounded: -2 + (a + 1) * 4 / 2; bounded below, above, not at all: as they are, inside what bound there is
    space = box([-2, 0, -INF, -INF], [2, INF, 1, INF], dtype)
    actions = to_environment(space, np.array([[0.5, -3, 7, 50], [-4, 3, -7, -50], [9, 0, 1, 0]], np.float32))
    np.testing.assert_array_equal(actions, np.array([[1, 0, 1, 50], [-2, 3, -7, -50], [2, 0, 1, 0]], dtype))
    assert all(space.contains(action) for action in actions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [-1.0, -0.25, 0.0, 1.0, 3e38, -3e38])
def test_bounds_however_wide_or_narrow_make_no_action_that_is_not_finite(dtype, value):
    widest, tiny = np.finfo(dtype).max, np.finfo(dtype).tiny
    space = box([-widest, 0, 3, -tiny, -INF], [widest, widest, 3, tiny, widest], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (action,) = to_environment(space, np.full((1, 5), value, np.float32))
    assert np.isfinite(action).all()
    assert space.contains(action)
    assert action[0] == np.float32(value)  # a span that overflows is no scale: such bounds mean that there are none
    assert action[2] == 3


def test_discrete_observation_becomes_one_hot_from_its_start():
    encoder = ObservationEncoder(spaces.Discrete(3, start=5))
    assert encoder.num_features == 3
    assert encoder(torch.tensor([[5, 7]])).tolist() == [[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]


def test_box_observation_is_flattened_to_float_and_keeps_its_batch_axes():
    encoder = ObservationEncoder(spaces.Box(0, 255, (2, 3), np.uint8))
    features = encoder(torch.arange(24, dtype=torch.uint8).reshape(2, 2, 2, 3))
    assert features.dtype == torch.float32
    assert features.shape == (2, 2, 6)
    assert features[1, 0].tolist() == [12.0, 13.0, 14.0, 15.0, 16.0, 17.0]


def test_scalar_box_observation_is_one_feature():
    assert ObservationEncoder(spaces.Box(0, 1, ()))(torch.zeros(4, 2)).shape == (4, 2, 1)


@pytest.mark.parametrize("dtype", [np.dtype(">f4"), np.dtype(">i8"), np.longdouble])
def test_a_number_type_that_torch_does_not_know_is_named_before_anything_starts(dtype):
    space = spaces.Box(0, 1, (2,), np.float32)
    space.dtype = np.dtype(dtype)  # as an environment may declare it
    with pytest.raises(UserError, match=r"Odd-v0 has observations of the type \S+ — wrap the environment"):
        check_spaces(space, spaces.Discrete(2), "Odd-v0")


def test_spaces_without_a_number_are_refused():
    with pytest.raises(UserError, match=r"has the observation space .* without a number"):
        check_spaces(spaces.Box(0, 1, (0,)), spaces.Discrete(2))
    with pytest.raises(UserError, match=r"has the action space .* without a number"):
        check_spaces(spaces.Discrete(2), spaces.Box(0, 1, (0,)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_images_of_bytes_are_scaled_whatever_holds_them(dtype):
    encoder = ObservationEncoder(spaces.Box(0, 255, (1, 2, 2), np.uint8), keep_shape=True)
    assert encoder(torch.full((1, 1, 1, 2, 2), 51).to(dtype)).unique().tolist() == pytest.approx([0.2])
    floats = ObservationEncoder(spaces.Box(0, 1, (1, 2, 2), np.float32), keep_shape=True)
    assert floats(torch.ones(1, 1, 1, 2, 2).to(dtype)).unique().tolist() == [1.0]
