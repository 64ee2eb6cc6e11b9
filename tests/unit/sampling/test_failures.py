import re

import gymnasium as gym
import numpy as np
import pytest
from failing_env import Failing
from gymnasium.vector import SyncVectorEnv

from synrl_ray.errors import UserError
from synrl_ray.sampling.failures import FailureCount, ResettingVectorEnv, RestartingVectorEnv, keep_going, not_finite

STAY = np.zeros(3, np.int64)


def test_what_the_networks_cannot_hold_is_a_failure_too():
    observations = np.array([[0, 1], [1e39, 0], [np.nan, 1e39], [-3e38, 0]])
    rewards = np.array([0, 0, 0, -1e300])
    assert not_finite(observations, rewards) == {
        1: "the observation is more than float32 can hold",
        2: "the observation is not finite",
        3: "the reward is more than float32 can hold",
    }
    assert not_finite(np.full((2, 3), 255, np.uint8), np.zeros(2)) == {}


def restarting(**kwargs):
    makes = [lambda: Failing(), lambda: Failing(**kwargs), lambda: Failing()]
    envs = keep_going(lambda: SyncVectorEnv(makes), lambda: Failing())
    assert isinstance(envs, RestartingVectorEnv)
    envs.reset(seed=1)
    return envs


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("raise", r"step\(\) raised RuntimeError: the camera broke \(failing_env.py, line \d+\)"),
        ("observation", "the observation is not finite"),
        ("reward", "the reward is not finite"),
        ("exit", r"step\(\) raised SystemExit: 0 \(failing_env.py, line \d+\)"),
        ("column", r"step\(\) returned an observation of shape \(2, 1\) and dtype float32, its .* shape \(2,\) .*"),
        ("list", r"step\(\) returned terminated = \[.*\], it is one bool"),
    ],
)
def test_the_environment_that_fails_is_closed_and_made_anew_and_the_others_go_on(fault, cause):
    envs = restarting(faults={3: fault})
    made, closed = Failing.made, Failing.closed
    for _ in range(2):
        assert "failure" not in envs.step(STAY)[-1]
    observations, rewards, terminated, truncated, info = envs.step(STAY)
    assert info["failure"][[0, 2]].tolist() == [None, None]
    assert re.fullmatch(cause, info["failure"][1])
    assert info["_failure"].tolist() == [False, True, False]
    assert observations[:, 0].tolist() == [3, 0, 3]
    assert rewards.tolist() == [1, 0, 1]
    assert not terminated.any()
    assert not truncated.any()
    assert (Failing.made, Failing.closed) == (made + 1, closed + 1)
    observations, rewards, *_, info = envs.step(STAY)
    assert observations[:, 0].tolist() == [4, 1, 4]
    assert "failure" not in info
    envs.close()


def test_steps_and_resets_are_those_of_gymnasium():
    ours, theirs = restarting(), SyncVectorEnv([lambda: Failing() for _ in range(3)])
    assert ours.reset(seed=5)[0][:, 0].tolist() == theirs.reset(seed=5)[0][:, 0].tolist()
    assert [env.np_random_seed for env in ours.envs] == [5, 6, 7]
    for _ in range(25):
        mine, other = ours.step(STAY), theirs.step(STAY)
        np.testing.assert_array_equal(mine[0][:, 0], other[0][:, 0])
        for a, b in zip(mine[1:4], other[1:4], strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_environment_that_fails_at_its_reset_starts_anew():
    envs = restarting(always="reset", length=2)
    env = envs.envs[1].unwrapped
    env.step = lambda action: (env._observation(), 1.0, True, False, {})
    env.calls = 1
    envs.step(STAY)
    observations, rewards, terminated, _, info = envs.step(STAY)
    assert info["failure"][1].startswith("reset() raised OSError: no more memory second line (failing_env.py")
    assert observations[1, 0] == 0
    assert rewards[1] == 0
    assert not terminated[1]


def test_replaced_environments_have_random_numbers_of_their_own():
    envs = restarting(faults={1: "raise"})
    envs.step(STAY)
    first = envs.envs[1].np_random_seed
    assert 2**31 <= first < 2**32
    again = restarting(faults={1: "raise"})
    again.step(STAY)
    assert again.envs[1].np_random_seed == first, "reproducible"


def test_an_environment_that_cannot_be_made_anew_stops_with_both_causes():
    def broken():
        raise OSError("no more files")

    envs = RestartingVectorEnv.adopt(SyncVectorEnv([lambda: Failing(always="raise")]), broken)
    envs.reset(seed=0)
    with pytest.raises(UserError, match=r"environment 0 failed .*camera broke.* cannot be made anew .*no more files"):
        envs.step(STAY[:1])


def test_what_is_meant_for_the_user_is_raised_at_once():
    class Refusing(Failing):
        def step(self, action):
            raise UserError("the licence has expired", "renew it")

    for wrap in (
        lambda: RestartingVectorEnv.adopt(SyncVectorEnv([Refusing]), Refusing),
        lambda: ResettingVectorEnv(SyncVectorEnv([Refusing]), lambda: SyncVectorEnv([Refusing])),
    ):
        envs = wrap()
        envs.reset(seed=0)
        with pytest.raises(UserError, match="the licence has expired"):
            envs.step(STAY[:1])


@pytest.mark.parametrize(("fault", "made"), [("observation", 0), ("reward", 0), ("raise", 3), ("exit", 3)])
def test_a_vector_form_starts_new_episodes_everywhere(fault, made):
    class Own(SyncVectorEnv):
        reports_episodes = True

    def make(**kwargs):
        return Own([lambda: Failing(), lambda: Failing(**kwargs), lambda: Failing()])

    envs = keep_going(lambda: make(faults={2: fault}), Failing)
    assert isinstance(envs, ResettingVectorEnv)
    assert envs.reports_episodes
    assert not ResettingVectorEnv(SyncVectorEnv([Failing]), Failing).reports_episodes
    envs.make = make
    envs.reset(seed=0)
    before = Failing.made
    assert envs.step(STAY)[0][:, 0].tolist() == [1, 1, 1]
    observations, rewards, *_, info = envs.step(STAY)
    assert info["_failure"].all()
    assert len([cause for cause in info["failure"] if cause]) == 1
    assert observations[:, 0].tolist() == [0, 0, 0]
    assert rewards.tolist() == [0, 0, 0]
    assert Failing.made == before + made
    assert envs.step(STAY)[0][:, 0].tolist() == [1, 1, 1]


OBSERVED = np.zeros((3, 2), np.float32)
ENDS = np.zeros(3, np.bool_)


@pytest.mark.parametrize(
    ("returned", "cause"),
    [
        ((OBSERVED[:, :, None], np.ones(3), ENDS, ENDS, {}), "an observation of shape (3, 2, 1) and dtype float32"),
        ((OBSERVED, np.ones((3, 1)), ENDS, ENDS, {}), "rewards of shape (3, 1) and dtype float64"),
        ((OBSERVED, [1.0, 1.0, 1.0], ENDS, ENDS, {}), "rewards = [1.0, 1.0, 1.0]"),
        ((OBSERVED, np.ones(3), [False] * 3, ENDS, {}), "terminated = [False, False, False]"),
        ((OBSERVED, np.ones(3), ENDS, np.zeros(3), {}), "truncated of shape (3,) and dtype float64"),
        ((OBSERVED, np.ones(3), ENDS, {}), "a tuple of 4"),
    ],
)
def test_the_arrays_of_a_vector_form_are_checked(returned, cause):
    class Own(SyncVectorEnv):
        def step(self, actions):
            return returned

    envs = keep_going(lambda: Own([Failing] * 3), Failing)
    envs.reset(seed=0)
    observations, *_, info = envs.step(STAY)
    assert observations[:, 0].tolist() == [0, 0, 0]
    assert info["failure"][0].startswith(f"step() returned {cause}, it")


def test_a_vector_form_that_cannot_be_made_anew_stops_with_both_causes():
    class Own(SyncVectorEnv):
        def reset(self, **kwargs):
            raise SystemExit(2)

    with pytest.raises(UserError, match=r"failed \(reset\(\) raised SystemExit: 2 .*made anew \(reset\(\) "):
        keep_going(lambda: Own([Failing] * 3), Failing).reset(seed=0)


def test_whole_numbers_of_a_vector_form_are_within_their_space():
    class Grid(Failing):
        observation_space = gym.spaces.Discrete(5)

        def _observation(self):
            return self.count

    class Own(SyncVectorEnv):
        pass

    envs = keep_going(lambda: Own([Grid] * 3), Grid)
    envs.reset(seed=0)
    for _ in range(4):
        assert "failure" not in envs.step(STAY)[-1]
    assert envs.step(STAY)[-1]["failure"][0].startswith("step() returned the observations array([5, 5, 5])")


def test_images_of_whole_numbers_pass():
    class Image(Failing):
        observation_space = gym.spaces.Box(0, 255, (1, 2, 2), np.uint8)

        def _observation(self):
            return np.full((1, 2, 2), self.count, np.uint8)

    envs = RestartingVectorEnv.adopt(SyncVectorEnv([Image, Image]), Image)
    assert envs.reset(seed=0)[0].dtype == np.uint8
    assert envs.step(STAY[:2])[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("failures", "steps", "share", "stops"),
    [(3, 4, 0.0, False), (4, 1000, 0.0, True), (4, 399, 0.01, True), (4, 400, 0.01, False), (50, 100, 1.0, False)],
)
def test_more_than_three_failures_and_more_than_the_share_stop(failures, steps, share, stops):
    count = FailureCount("Robot-v1", share)
    count.add(failures, "RuntimeError: the camera broke", steps)
    if not stops:
        count.check()
        return
    message = (
        f"Robot-v1 failed {failures} times in {steps:,} steps, more than a share of {share:g}; last cause: Runtime"
    )
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        count.check()
    assert "max_failure_share" in caught.value.remedy
    assert caught.value.exit_code == 2


def test_failures_are_told_once():
    count = FailureCount("Robot-v1", 0.5)
    assert count.take() == (0, "")
    count.add(2, "a", 10)
    count.add(1, "b", 20)
    assert count.take() == (3, "b")
    assert count.take() == (0, "b")
