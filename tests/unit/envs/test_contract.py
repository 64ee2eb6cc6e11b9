import pickle
import re
import sys
from collections import namedtuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text

from synrl_ray.envs.checked import EnvironmentFailure, checked, require_working
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError

VECTOR = Box(-1, 1, (4,), np.float32)
IMAGE = Box(0, 255, (1, 2, 2), np.uint8)
GOOD = np.zeros(4, np.float32)


class Says(gym.Env):
    """Returns what it is told to; what is no tuple takes the place of the observation."""

    action_space = Discrete(2)

    def __init__(self, space=VECTOR, first=GOOD, then=GOOD):
        self.metadata = {"render_modes": []}
        self.observation_space, self.first, self.then = space, first, then

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return _said(self.first, {})

    def step(self, action):
        return _said(self.then, 1.0, False, False, {})


def _said(what, *rest):
    what = what() if callable(what) else what
    return what if isinstance(what, tuple | Whole) else (what, *rest)


class Whole(list):
    """In place of a tuple."""


gym.register("Says-v0", entry_point=Says)


def stepped(**kwargs):
    env = checked(Says(**kwargs), "robot:Arm-v1")
    env.reset(seed=0)
    return env.step(0)


@pytest.mark.parametrize(
    ("space", "observation", "accepted"),
    [
        (VECTOR, GOOD.astype(np.float64), GOOD),
        (VECTOR, GOOD.astype(">f4"), GOOD),
        (VECTOR, [0, 0, 0, 0], GOOD),
        (VECTOR, torch.zeros(4), GOOD),
        (VECTOR, np.zeros(4, np.int64), GOOD),
        (VECTOR, np.full(4, 1.5, np.float32), np.full(4, 1.5, np.float32)),  # over its bounds, as real ones are
        (Box(-1, 1, (1,), np.float32), [0.5], np.full(1, 0.5, np.float32)),
        (Box(-1, 1, (), np.float32), 0.5, np.float32(0.5)),
        (IMAGE, np.full((1, 2, 2), 200, np.int64), np.full((1, 2, 2), 200, np.uint8)),
        (IMAGE, np.ones((1, 2, 2), np.bool_), np.ones((1, 2, 2), np.uint8)),
        (Discrete(3), 2, 2),
        (Discrete(3), np.int32(2), 2),
        (Discrete(3), np.array(2), 2),
        (Discrete(3, start=-1), -1, -1),
        (MultiDiscrete([3, 2]), [2, 1], [0, 0, 1, 0, 1]),  # one of each, as all that policies see as one vector
    ],
)
def test_what_means_the_same_is_accepted_and_given_in_the_spaces_own_dtype(space, observation, accepted):
    env = checked(Says(space, observation, observation), "robot:Arm-v1")
    for found in (env.reset(seed=0)[0], env.step(0)[0]):
        np.testing.assert_array_equal(found, accepted)
        if isinstance(space, Box):
            assert found.dtype == space.dtype


@pytest.mark.parametrize(
    ("space", "observation", "says"),
    [
        (VECTOR, np.zeros((4, 1)), "an observation of shape (4, 1) and dtype float64, its observation space has shape "
         "(4,) and dtype float32"),
        (VECTOR, np.zeros((1, 4), np.float32), "an observation of shape (1, 4)"),
        (VECTOR, np.zeros(3, np.float32), "an observation of shape (3,)"),
        (VECTOR, [[0.0], [0.0], [0.0], [0.0]], "an observation of shape (4, 1)"),
        (Box(-1, 1, (1,), np.float32), 0.5, "an observation of shape () and dtype float64, its observation space has "
         "shape (1,)"),
        (VECTOR, 0.5, "an observation of shape ()"),
        (IMAGE, np.zeros((2, 2, 1), np.uint8), "an observation of shape (2, 2, 1)"),
        (IMAGE, np.zeros((1, 2, 2), np.float32), "an observation of shape (1, 2, 2) and dtype float32"),
        (IMAGE, np.full((1, 2, 2), 256), "an observation of shape (1, 2, 2) and dtype int64 with values from "
         "256 to 256"),
        (IMAGE, np.full((1, 2, 2), -1), "an observation of shape (1, 2, 2) and dtype int64 with values from -1"),
        (VECTOR, np.zeros(4, np.complex64), "an observation of dtype complex64"),
        (VECTOR, np.array([0.0, None, 1.0, 2.0], object), "an observation of dtype object"),
        (VECTOR, [[0.0], [0.0, 1.0]], "an observation that is no array (list)"),
        (VECTOR, {"position": GOOD}, "an observation of dtype object (dict)"),
        (VECTOR, None, "an observation of dtype object (NoneType)"),
        (VECTOR, "left", "an observation of dtype <U4 (str)"),
        (Discrete(3), 3, "the observation 3, its observation space is Discrete(3)"),
        (Discrete(3), -1, "the observation -1"),
        (Discrete(3, start=1), 0, "the observation 0, its observation space is Discrete(3, start=1)"),
        (Discrete(3), 1.0, "the observation 1.0"),
        (Discrete(3), np.array([1]), "the observation array([1])"),
        (Discrete(3), None, "the observation None"),
        (MultiDiscrete([3, 2]), [2, 2], "the observations array([2, 2]), their space is MultiDiscrete([3 2])"),
        (MultiDiscrete([3, 2]), [1.0, 1.0], "an observation of shape (2,) and dtype float64"),
    ],
)  # fmt: skip
def test_another_observation_is_named_beside_the_space(space, observation, says):
    for call, kwargs in (("reset", {"first": observation}), ("step", {"first": _good(space), "then": observation})):
        with pytest.raises(EnvironmentFailure) as caught:
            stepped(space=space, **kwargs)
        assert caught.value.message.startswith(f"environment 'robot:Arm-v1' failed: {call}() returned {says}")
        assert "\n" not in str(caught.value)
        assert caught.value.remedy


def _good(space):
    return int(space.start) if isinstance(space, Discrete) else np.zeros(space.shape, space.dtype)


@pytest.mark.parametrize(
    ("reward", "accepted"),
    [(1, 1.0), (np.float32(0.5), 0.5), (np.array(2.0), 2.0), (torch.tensor(3.0), 3.0), (True, 1.0), (np.int8(-1), -1)],
)  # fmt: skip
def test_a_reward_is_one_number(reward, accepted):
    found = stepped(then=(GOOD, reward, False, False, {}))[1]
    assert found == accepted
    assert type(found) is float


@pytest.mark.parametrize("reward", [None, "1.0", np.array([1.0]), [1.0], np.ones((1, 1)), 1j, {}, np.array(None)])
def test_another_reward_is_named(reward):
    with pytest.raises(EnvironmentFailure, match=r"step\(\) returned the reward .*, a reward is one number"):
        stepped(then=(GOOD, reward, False, False, {}))


@pytest.mark.parametrize("flag", [False, True, np.True_, np.False_, np.array(True), 0, 1, np.int64(1)])
def test_an_end_is_one_bool(flag):
    assert stepped(then=(GOOD, 0.0, flag, False, {}))[2] is bool(flag)
    assert stepped(then=(GOOD, 0.0, False, flag, {}))[3] is bool(flag)


@pytest.mark.parametrize("flag", [np.array([True]), np.array([False]), [False], [], None, "no", 2, 0.0, {}])
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_another_end_is_named(name, flag):
    ends = (flag, False) if name == "terminated" else (False, flag)
    with pytest.raises(EnvironmentFailure, match=rf"step\(\) returned {name} = .*, it is one bool"):
        stepped(then=(GOOD, 0.0, *ends, {}))


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"first": Whole(GOOD)}, "reset() returned Whole, it returns a tuple of 2: observation, info"),
        ({"first": (GOOD,)}, "reset() returned a tuple of 1, it returns a tuple of 2"),
        ({"first": (GOOD, None)}, "reset() returned the info None, it is a dict"),
        ({"then": (GOOD, 0.0, False, {})}, "step() returned a tuple of 4, it returns a tuple of 5: observation, "
         "reward, terminated, truncated, info"),
        ({"then": Whole([GOOD, 0.0, False, False, {}])}, "step() returned Whole, it returns a tuple of 5"),
        ({"then": (GOOD, 0.0, False, False, None)}, "step() returned the info None, it is a dict"),
        ({"then": (GOOD, 0.0, False, False, [])}, "step() returned the info [], it is a dict"),
    ],
)  # fmt: skip
def test_other_numbers_of_values_are_named(kwargs, says):
    with pytest.raises(EnvironmentFailure, match=re.escape(says)):
        stepped(**kwargs)


class OldGym(Says):
    def reset(self):
        return np.zeros(4)


class OldStep(Says):
    def step(self, action):
        return GOOD, 0.0, False, {}


@pytest.mark.parametrize(("kind", "call"), [(OldGym, "reset"), (OldStep, "step")])
def test_an_environment_of_old_gym_is_told_what_to_do_where_gymnasiums_wrappers_meet_it_first(kind, call):
    env = checked(gym.wrappers.TimeLimit(kind(), 10))
    with pytest.raises(EnvironmentFailure, match=rf"{call}\(\) raised \w+Error: .*present interface: reset\(seed, opt"):
        _ = env.reset(seed=0), env.step(0)


def test_an_observation_of_two_numbers_is_no_pair():
    with pytest.raises(EnvironmentFailure, match=r"returned an array of shape \(2,\), it returns a tuple of 2"):
        checked(_Bare(), "x").reset()


class _Bare(Says):
    def reset(self, *, seed=None, options=None):
        return np.zeros(2)


def test_named_tuples_are_tuples():
    Step = namedtuple("Step", "observation reward terminated truncated info")
    assert stepped(then=Step(GOOD, 1.0, True, False, {}))[2] is True


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("the camera broke\nat noon"), "RuntimeError: the camera broke at noon"),
        (KeyError("gripper"), "KeyError: 'gripper'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit(), "SystemExit"),
        (AssertionError(), "AssertionError"),
    ],
)
@pytest.mark.parametrize("call", ["reset", "step"])
def test_what_is_raised_is_named_with_its_place(call, error, says):
    with pytest.raises(EnvironmentFailure) as caught:
        stepped(**{"first" if call == "reset" else "then": lambda: _raise(error)})
    cause = rf"{call}\(\) raised {re.escape(says)} \(test_contract.py, line \d+\)"
    assert re.fullmatch(cause, caught.value.what)
    assert caught.value.message == f"environment 'robot:Arm-v1' failed: {caught.value.what}"
    assert caught.value.__cause__ is error


def test_ctrl_c_and_what_is_meant_for_the_user_pass():
    for error in (KeyboardInterrupt(), UserError("the licence has expired", "renew it")):
        with pytest.raises(type(error)) as caught:
            stepped(then=lambda error=error: _raise(error))
        assert caught.value is error


def test_closing_never_fails():
    class Stubborn(Says):
        def close(self):
            sys.exit("no")

    checked(Stubborn(), "x").close()


def test_other_spaces_are_left_to_others():
    value = {"a": None}
    assert checked(Says(Dict({"a": Text(3)}), value, value), "x").reset()[0] is value


def test_an_environment_is_checked_once():
    env = checked(Says(), "x")
    assert checked(env, "y") is env
    assert checked(gym.make("Says-v0")).name == "Says-v0"
    assert checked(Says()).name == "Says"


def test_a_failure_travels_between_processes():
    with pytest.raises(EnvironmentFailure) as caught:
        stepped(then=None)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.what) == (str(caught.value), caught.value.what)


def test_environments_are_made_checked_and_gymnasiums_own_checker_is_silent(recwarn):
    env = make_environment("Says-v0", {"then": np.zeros((4, 1), np.float32)})
    assert env.spec.id == "Says-v0"
    env.reset(seed=0)
    with pytest.raises(EnvironmentFailure, match=r"^environment 'Says-v0' failed: step\(\) returned an observation of"):
        env.step(0)
    assert not recwarn.list


def test_spaces_that_are_missing_are_named():
    class NoSpace(Says):
        def __init__(self):
            pass

    gym.register("NoSpace-v0", entry_point=NoSpace)
    with pytest.raises(UserError, match="'NoSpace-v0' has no observation space"):
        make_environment("NoSpace-v0")
    gym.register("Quits-v0", entry_point=lambda: sys.exit(3))
    with pytest.raises(UserError, match=r"'Quits-v0' cannot be made \(SystemExit: 3\)"):
        make_environment("Quits-v0")


def test_an_environment_is_tried_before_it_is_trained_on():
    tries = []

    def make(fails):
        tries.append(checked(Says(then=np.zeros((4, 1)) if fails > len(tries) else GOOD)))
        return tries[-1]

    require_working(lambda: make(0))
    assert len(tries) == 1
    tries.clear()
    require_working(lambda: make(2))  # what is rare is borne in training, too
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(EnvironmentFailure, match=r"returned an observation of shape \(4, 1\)"):
        require_working(lambda: make(9))
    assert len(tries) == 3
