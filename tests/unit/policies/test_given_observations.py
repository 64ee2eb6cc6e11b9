"""What callers hand to a policy: taken as the numbers that it is, or refused by name."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.experiment import QLearning
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.policies.local.table import make_agent
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

BOX = spaces.Box(-10, 10, (3,), np.float32)
FRAMES = spaces.Box(0, 255, (1, 8, 8), np.uint8)
MLP = SpikingPolicy(hidden_sizes=(8,), input_gain=3.0, carry_state=True, steps_per_observation=2)
CNN = AnnPolicy(conv_layers=((2, 3, 1),), hidden_sizes=(4,))


def policy_of(space=BOX, config=MLP, actions=None):
    torch.manual_seed(0)
    actions = actions or spaces.Box(-1, 1, (2,), np.float32)
    return Policy(ActorCritic(space, actions, config), space, actions)


def local_policy():
    pair = (spaces.Discrete(5), spaces.Discrete(3))
    agent = make_agent(*pair, settings=QLearning())
    agent.q[:] = torch.arange(15.0).reshape(5, 3) % 4
    return LocalPolicy(agent, QLearning(), *pair)


STATE_SIZE = (8 + 2) + (8 + 1)
VALUES = np.array([[1, -2, 3], [0, 4, -1]], np.float32)
FORMS = {
    "float64": VALUES.astype(np.float64),
    "float16": VALUES.astype(np.float16),
    "longdouble": VALUES.astype(np.longdouble),
    "big-endian": VALUES.astype(">f4"),
    "big-endian doubles": VALUES.astype(">f8"),
    "int8": VALUES.astype(np.int8),
    "big-endian integers": VALUES.astype(">i4"),
    "int64": VALUES.astype(np.int64),
    "list": VALUES.tolist(),
    "list of arrays": list(VALUES),
    "tuple": tuple(map(tuple, VALUES.tolist())),
    "reversed": VALUES[::-1, ::-1].copy()[::-1, ::-1],
    "column-major": np.asfortranarray(VALUES),
    "every other": np.repeat(VALUES, 2, axis=1)[:, ::2],
    "tensor": torch.from_numpy(VALUES),
    "tensor with gradients": torch.from_numpy(VALUES.copy()).requires_grad_(),
    "bfloat16 tensor": torch.from_numpy(VALUES).bfloat16(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_count_whatever_holds_them(form):
    policy = policy_of()
    expected, state = policy.act(VALUES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actions, after = policy.act(form, np.zeros((2, state.shape[1]), ">f8"))
    np.testing.assert_array_equal(actions, expected)
    np.testing.assert_array_equal(after, state)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.bool_])
def test_unsigned_numbers_count_too(dtype):
    policy, ones = policy_of(), np.ones((2, 3))
    np.testing.assert_array_equal(policy.act(ones.astype(dtype))[0], policy.act(ones)[0])


def test_what_may_not_be_written_is_read_and_left_alone():
    frozen = VALUES.copy()
    frozen.setflags(write=False)
    policy = policy_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(policy.act(frozen)[0], policy.act(VALUES)[0])
    assert policy.act(VALUES)[0].flags.writeable


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float32, ">f8"])
def test_pixels_are_as_bright_in_any_type(dtype):
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8))
    policy = policy_of(FRAMES, CNN)
    expected = policy.act(frames.astype(np.uint8))[0]
    np.testing.assert_array_equal(policy.act(frames.astype(dtype))[0], expected)


@pytest.mark.parametrize(("value", "named"), [(0.5, "0.5"), (256, "256"), (-1, "-1")])
def test_what_is_no_pixel_is_refused(value, named):
    frames = np.full((1, 8, 8), value)
    with pytest.raises(ValueError, match=rf"observation must hold whole numbers from 0 to 255, got {named}"):
        policy_of(FRAMES, CNN).act(frames)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([[1.0, 2.0], [3.0]], "observation must be an array of numbers"),
        (np.array([1, "a", None], object), "observation must hold numbers, got object"),
        (["1", "2", "3"], "observation must hold numbers, got <U1"),
        (np.ones(3, complex), "observation must hold numbers, got complex128"),
        (np.zeros(3, "M8[s]"), "observation must hold numbers, got datetime64"),
        ([10**400, 0, 0], "observation must hold numbers, got object"),
        ({"x": 1.0}, "observation must hold numbers, got object"),
        (None, "observation must hold numbers, got object"),
        (np.zeros(4), r"observation must be \(3,\), got \(4,\)"),
        ([1e39, 0, 0], r"observation holds 1e\+39, more than float32 can"),
        ([[0, 0, 0], [0, -1e300, 0]], r"observation holds -1e\+300, more than float32 can"),
    ],
    ids=str,
)
def test_what_are_no_numbers_is_refused_in_a_line_that_is_a_value_error_too(given, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=reason) as caught:
            policy_of().act(given)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "error", "reason"),
    [
        (np.full((1, STATE_SIZE), np.nan), NonFiniteError, "the state is not finite"),
        (np.full((1, STATE_SIZE), 1e39), ValueError, "state holds 1e"),
        (np.full((1, STATE_SIZE), "a"), ValueError, "state must hold numbers"),
        (np.zeros((2, STATE_SIZE)), ValueError, r"state must be \(1, \d+\), got \(2, \d+\)"),
    ],
)
def test_a_state_is_looked_at_alike(state, error, reason):
    with pytest.raises(error, match=reason):
        policy_of().act(VALUES[:1], state)


@pytest.mark.parametrize("actions", [spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float64)], ids=["discrete", "box"])
@pytest.mark.parametrize(
    ("space", "config"), [(BOX, MLP), (FRAMES, CNN), (spaces.Discrete(4), AnnPolicy())], ids=["box", "frames", "index"]
)
def test_no_observations_give_no_actions(space, config, actions):
    policy = policy_of(space, config, actions)
    one, state = policy.act(np.zeros((1, *space.shape), space.dtype))
    none, after = policy.act(np.zeros((0, *space.shape), space.dtype))
    assert (none.shape, none.dtype, none.flags.writeable) == ((0, *one.shape[1:]), one.dtype, True)
    assert (after.shape, after.dtype) == ((0, *state.shape[1:]), state.dtype)


@pytest.mark.parametrize(
    ("space", "config"), [(BOX, MLP), (spaces.Box(-np.inf, np.inf, (1, 8, 8)), CNN)], ids=["membranes", "outputs"]
)
def test_numbers_that_the_network_cannot_bear_are_named(space, config):
    policy = policy_of(space, config)
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.abs_().mul_(4)
    with pytest.raises(NonFiniteError, match="the policy's output is not finite"):
        policy.act(np.full((2, *space.shape), 3e38))


@pytest.mark.parametrize("make", [local_policy, lambda: policy_of(spaces.Discrete(5), AnnPolicy(), spaces.Discrete(3))])
def test_an_index_is_a_whole_number_in_its_space(make):
    policy = make()
    expected = policy.act(np.array([1, 3]))[0]
    for given in ([1, 3], [1.0, 3.0], np.array([1, 3], ">i2"), torch.tensor([1, 3]), np.array([1, 3], np.uint8)):
        np.testing.assert_array_equal(policy.act(given)[0], expected)
    assert policy.act(np.float64(3))[0] == expected[1]
    assert policy.act(True)[0] == expected[0]
    assert policy.act([])[0].shape == (0,)
    for wrong, reason in ((1.5, "1.5"), (5, "5"), (-1, "-1"), ([1, -2], "-2")):
        with pytest.raises(ValueError, match=rf"observation must hold whole numbers from 0 to 4, got {reason}"):
            policy.act(wrong)
    with pytest.raises(NonFiniteError):
        policy.act(np.nan)
    with pytest.raises(ValueError, match="must hold numbers"):
        policy.act("1")
