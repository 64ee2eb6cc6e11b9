import json

import gymnasium as gym
import numpy as np
import pytest

from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import evaluate_policy


class CountdownEnv(gym.Env):
    """Lasts ``1 + seed % 5`` steps; every step is worth the observation, which counts 0, 1, 2, ..."""

    observation_space = gym.spaces.Box(0, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.seeds, self.is_closed = [], False

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.length, self.now = 1 + seed % 5, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.now < self.length, "stepped after its end"
        reward = float(self.now)
        self.now += 1
        return np.full(1, self.now, np.float32), reward, self.now == self.length, False, {}

    def close(self):
        self.is_closed = True


class RecordingPolicy:
    """Always 0; its state counts the calls of each row, and it remembers what it saw."""

    def __init__(self):
        self.batches, self.states = [], []

    def initial_state(self, batch):
        return np.zeros((batch, 1))

    def act(self, observations, state, *, deterministic=True):
        assert deterministic
        self.batches.append(observations[:, 0].tolist())
        self.states.append(state[:, 0].tolist())
        return np.zeros(len(observations), dtype=np.int64), state + 1


class LinearCartPolePolicy(RecordingPolicy):
    """Push to where the pole leans and turns."""

    def act(self, observations, state, *, deterministic=True):
        return (observations[:, 2] + observations[:, 3] > 0).astype(np.int64), state


class RandomPolicy(RecordingPolicy):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def act(self, observations, state, *, deterministic=True):
        return self.rng.integers(2, size=len(observations)), state


def make_cartpole():
    return gym.make("CartPole-v1")


def test_returns_and_lengths_by_hand():
    # Seeds 10..16 last 1, 2, 3, 4, 5, 1, 2 steps; a length of n is worth 0 + 1 + ... + (n - 1).
    result = evaluate_policy(RecordingPolicy(), CountdownEnv, episodes=7, seed=10, max_parallel=3)
    np.testing.assert_array_equal(result.lengths, [1, 2, 3, 4, 5, 1, 2])
    np.testing.assert_array_equal(result.returns, [0, 1, 3, 6, 10, 0, 1])
    assert result.env_steps == 18
    assert result.seconds > 0
    assert result.summary().mean == pytest.approx(21 / 7)


def test_every_episode_has_its_own_seed_and_is_counted_once():
    envs = []

    def make_env():
        envs.append(CountdownEnv())
        return envs[-1]

    evaluate_policy(RecordingPolicy(), make_env, episodes=5, seed=100, max_parallel=2)
    assert [env.seeds for env in envs] == [[100, 102, 104], [101, 103]]
    assert all(env.is_closed for env in envs)


def test_finished_environments_leave_the_batch_and_keep_their_state_apart():
    policy = RecordingPolicy()
    evaluate_policy(policy, CountdownEnv, episodes=3, seed=10, max_parallel=2)
    # First wave: lengths 1 and 2; second wave: length 3.
    assert policy.batches == [[0.0, 0.0], [1.0], [0.0], [1.0], [2.0]]
    assert policy.states == [[0.0, 0.0], [1.0], [0.0], [1.0], [2.0]]


@pytest.mark.parametrize("max_parallel", [1, 4, 32])
def test_the_result_does_not_depend_on_the_number_of_parallel_environments(max_parallel):
    result = evaluate_policy(LinearCartPolePolicy(), make_cartpole, episodes=6, seed=3, max_parallel=max_parallel)
    returns = []
    for seed in range(3, 9):
        env = make_cartpole()
        observation, _ = env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = env.step(int(observation[2] + observation[3] > 0))
            total, ended = total + reward, terminated or truncated
        returns.append(total)
    np.testing.assert_array_equal(result.returns, returns)


def test_same_seed_same_returns_other_seed_others():
    first, again, other = (
        evaluate_policy(LinearCartPolePolicy(), make_cartpole, episodes=8, seed=seed).returns for seed in (0, 0, 100)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cartpole_linear_rule_against_random():
    good = evaluate_policy(LinearCartPolePolicy(), make_cartpole, episodes=20, seed=0).summary()
    random = evaluate_policy(RandomPolicy(), make_cartpole, episodes=200, seed=0).summary()
    assert good.mean > 400
    assert 19 < random.mean < 26  # about 22 is the known value


def test_progress_counts_up_to_all_episodes():
    calls = []
    evaluate_policy(
        RecordingPolicy(),
        CountdownEnv,
        episodes=3,
        seed=10,
        max_parallel=2,
        progress=lambda finished, total: calls.append((finished, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_protocol_says_how_and_is_json():
    protocol = evaluate_policy(LinearCartPolePolicy(), make_cartpole, episodes=2, seed=7).protocol
    assert json.loads(json.dumps(protocol)) == protocol
    assert protocol["environment"] == "CartPole-v1"
    assert (protocol["time_limit"], protocol["episodes"], protocol["first_seed"]) == (500, 2, 7)
    assert protocol["greedy"] is True


def test_time_limit_of_an_unregistered_environment():
    def make_env():
        return gym.wrappers.TimeLimit(CountdownEnv(), max_episode_steps=3)

    result = evaluate_policy(RecordingPolicy(), make_env, episodes=1, seed=4)  # would last five steps
    assert result.lengths.tolist() == [3]
    assert (result.protocol["environment"], result.protocol["time_limit"]) == ("CountdownEnv", 3)
    assert evaluate_policy(RecordingPolicy(), CountdownEnv, episodes=1, seed=4).protocol["time_limit"] is None


class BrokenEnv(CountdownEnv):
    broken = ""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.now == 2 and self.broken == "observation":
            observation = np.full(1, np.nan, np.float32)
        if self.now == 2 and self.broken == "reward":
            reward = np.inf
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("broken", "message"), [("observation", r"observation\[0\] = nan is not finite"), ("reward", "reward = inf is not")]
)
def test_values_that_are_not_finite_are_named_with_their_place(broken, message):
    envs = []

    def make_env():
        env = BrokenEnv()
        env.broken = broken
        envs.append(env)
        return env

    with pytest.raises(UserError, match=rf"{message}.*BrokenEnv, episode 1 \(seed 11\), environment step 2"):
        evaluate_policy(RecordingPolicy(), make_env, episodes=3, seed=10)
    assert all(env.is_closed for env in envs)


def test_observations_that_are_no_arrays_are_named():
    class DictEnv(CountdownEnv):
        observation_space = gym.spaces.Dict({"a": gym.spaces.Text(2)})

        def reset(self, *, seed=None, options=None):
            return {"a": "b"}, {}

    with pytest.raises(UserError, match=r"DictEnv gives observations that are no arrays: dict.*FlattenObservation"):
        evaluate_policy(RecordingPolicy(), DictEnv, episodes=1, seed=0)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (
            (np.zeros((1, 1)), 0.0, False, False, {}),
            r"an observation of shape \(1, 1\) and dtype .*\(1,\)",
        ),
        ((np.zeros(1), 0.0, [False], False, {}), r"terminated = \[False\], it is one bool"),
        ((np.zeros(1), np.ones(1), False, False, {}), r"the reward array\(\[1\.\]\), a reward is one number"),
        ((np.zeros(1), 0.0, False, {}), "a tuple of 4, it returns a tuple of 5"),
    ],
)
def test_a_breach_of_the_contract_is_one_line(returned, says):
    class Careless(CountdownEnv):
        def step(self, action):
            return returned

    with pytest.raises(UserError, match=rf"^environment 'Careless' failed: step\(\) returned {says}"):
        evaluate_policy(RecordingPolicy(), Careless, episodes=2, seed=0)


@pytest.mark.parametrize("error", [SystemExit(0), ZeroDivisionError("division by zero")])
def test_what_an_environment_raises_is_one_line_and_all_are_closed(error):
    envs = []

    class Leaving(CountdownEnv):
        def __init__(self):
            super().__init__()
            envs.append(self)

        def step(self, action):
            raise error

    with pytest.raises(UserError, match=rf"^environment 'Leaving' failed: step\(\) raised {type(error).__name__}: "):
        evaluate_policy(RecordingPolicy(), Leaving, episodes=2, seed=0)
    assert [env.is_closed for env in envs] == [True, True]


class EndlessEnv(CountdownEnv):
    """Where the seed is even, it never ends."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.length = 2**62 if seed % 2 == 0 else 3
        return observation, info


def test_an_episode_without_an_end_is_cut_and_counted():
    calls = []
    result = evaluate_policy(
        RecordingPolicy(),
        EndlessEnv,
        episodes=5,
        seed=10,
        max_parallel=2,
        max_env_steps=4,
        progress=lambda finished, total: calls.append((finished, total)),
    )
    assert result.lengths.tolist() == [4, 3, 4, 3, 4]
    assert result.returns.tolist() == [6, 3, 6, 3, 6]
    protocol = result.protocol
    assert (protocol["time_limit"], protocol["cut_after"], protocol["episodes_cut"]) == (None, 4, 3)
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_an_episode_that_ends_where_it_would_be_cut_is_whole():
    result = evaluate_policy(RecordingPolicy(), EndlessEnv, episodes=1, seed=11, max_env_steps=3)
    assert (result.lengths.tolist(), result.protocol["episodes_cut"]) == ([3], 0)


def test_the_environments_own_limit_comes_first():
    def make_env():
        return gym.wrappers.TimeLimit(EndlessEnv(), max_episode_steps=6)

    result = evaluate_policy(RecordingPolicy(), make_env, episodes=1, seed=10, max_env_steps=4)
    assert result.lengths.tolist() == [6]
    assert "episodes_cut" not in result.protocol


def test_a_limit_that_is_not_kept_cuts_all_the_same():
    class Promising(EndlessEnv):
        spec = gym.envs.registration.EnvSpec("Promising-v0", max_episode_steps=6)

    result = evaluate_policy(RecordingPolicy(), Promising, episodes=1, seed=10)
    assert result.lengths.tolist() == [6]


def test_a_policy_that_returns_the_wrong_number_of_rows_is_named():
    class OneAction(RecordingPolicy):
        def act(self, observations, state, *, deterministic=True):
            return np.zeros(1, dtype=np.int64), state

    with pytest.raises(ValueError, match="given 2 observations and returned 1 actions and 2 states"):
        evaluate_policy(OneAction(), CountdownEnv, episodes=2, seed=0)


@pytest.mark.parametrize(("name", "value"), [("episodes", 0), ("seed", -1), ("max_parallel", 0)])
def test_settings_out_of_range_are_named(name, value):
    settings = {"episodes": 1, "seed": 0, "max_parallel": 1, name: value}
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        evaluate_policy(RecordingPolicy(), CountdownEnv, **settings)


class ChanceEnv(CountdownEnv):
    """One of three starts, however the seed is."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed % 3, options=options)
        return observation + seed % 3, info


def test_equal_episodes_have_equal_digests():
    outcome = evaluate_policy(RecordingPolicy(), ChanceEnv, episodes=7, seed=3, max_parallel=4)
    starts = [seed % 3 for seed in range(3, 10)]
    assert len(set(outcome.digests)) == 3
    assert len(set(zip(starts, outcome.digests, strict=True))) == 3
    assert outcome.recorded().distinct == 3


class SecondAction(RecordingPolicy):
    def act(self, observations, state, *, deterministic=True):
        return np.ones(len(observations), dtype=np.int64), state


def test_other_actions_make_other_episodes():
    once, other = (
        evaluate_policy(policy, CountdownEnv, episodes=2, seed=0) for policy in (RecordingPolicy(), SecondAction())
    )
    assert once.returns.tolist() == other.returns.tolist()
    assert not set(once.digests) & set(other.digests)


def test_episodes_are_recorded_with_their_seeds():
    recorded = evaluate_policy(RecordingPolicy(), CountdownEnv, episodes=3, seed=8).recorded()
    assert recorded.seeds == (8, 9, 10)
    assert recorded.lengths == (4, 5, 1)
    assert recorded.returns == (6.0, 10.0, 0.0)


def test_a_policy_is_told_when_it_is_to_draw_its_actions():
    told = []

    class Told(RecordingPolicy):
        def act(self, observations, state, *, deterministic=True):
            told.append(deterministic)
            return np.zeros(len(observations), dtype=np.int64), state

    outcome = evaluate_policy(Told(), CountdownEnv, episodes=1, seed=0, deterministic=False)
    assert told == [False]
    assert outcome.protocol["greedy"] is False
