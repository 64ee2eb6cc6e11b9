"""The protocol of an evaluation: what an episode's digest is of, where waves begin and end, what is closed."""

import hashlib

import gymnasium as gym
import numpy as np
import pytest

from synrl_ray.errors import UserError
from synrl_ray.evaluation.episodes import evaluate_policy


class Counting(gym.Env):
    """The episode of seed s lasts ``s`` steps; observations are (s, steps), each step is worth 10 s + its number."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(9)
    made = 0

    def __init__(self):
        self.metadata = {"render_modes": []}
        type(self).made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.count = seed, 0
        return self._observation(), {}

    def step(self, action):
        self.count += 1
        ended = self.count == self.seed
        return self._observation(), 10.0 * self.seed + self.count, ended and self.seed % 2 == 0, ended, {}

    def _observation(self):
        return np.array([self.seed, self.count], np.float32)


class Counter:
    """Acts by how often the row has acted; its state is that number."""

    def initial_state(self, batch):
        return np.zeros((batch, 1), np.int64)

    def act(self, observations, state, *, deterministic=True):
        return state[:, 0] % 9, state + 1


def test_a_digest_is_of_what_the_policy_saw_did_and_got():
    outcome = evaluate_policy(Counter(), Counting, episodes=2, seed=2, max_parallel=2)
    for seed, digest in zip((2, 3), outcome.digests, strict=True):
        expected = hashlib.blake2b(digest_size=6)
        for step in range(seed):
            for part in (np.array([seed, step], np.float32), np.int64(step), np.float64(10 * seed + step + 1)):
                expected.update(np.ascontiguousarray(part))
        assert digest == expected.hexdigest()


@pytest.mark.parametrize(
    ("episodes", "max_parallel", "made"), [(5, 2, 2), (5, 5, 5), (2, 32, 2), (1, 1, 1), (40, None, 32)]
)
def test_no_more_environments_are_made_than_act_together(episodes, max_parallel, made):
    Counting.made = 0
    settings = {} if max_parallel is None else {"max_parallel": max_parallel}
    outcome = evaluate_policy(Counter(), Counting, episodes=episodes, seed=1, **settings)
    assert Counting.made == made
    assert outcome.lengths.tolist() == list(range(1, episodes + 1))
    assert outcome.returns.tolist() == [sum(10 * s + n for n in range(1, s + 1)) for s in range(1, episodes + 1)]
    assert outcome.env_steps == sum(range(1, episodes + 1))


def test_each_wave_begins_with_states_of_its_size():
    class Sized(Counter):
        batches = []  # noqa: RUF012 (of one test)

        def initial_state(self, batch):
            self.batches.append(batch)
            return super().initial_state(batch)

    evaluate_policy(Sized(), Counting, episodes=7, seed=1, max_parallel=3)
    assert Sized.batches == [3, 3, 1]


def test_the_time_is_that_of_the_episodes_alone(monkeypatch):
    clock = iter([100.0, 107.5])
    monkeypatch.setattr("synrl_ray.evaluation.episodes.time.perf_counter", lambda: next(clock))
    assert evaluate_policy(Counter(), Counting, episodes=1, seed=1).seconds == 7.5


def test_progress_is_told_when_episodes_end_and_at_no_other_time():
    told = []
    evaluate_policy(
        Counter(), Counting, episodes=5, seed=1, max_parallel=3, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_policy_whose_states_are_too_few_is_named():
    class Forgetful(Counter):
        def act(self, observations, state, *, deterministic=True):
            return state[:, 0], state[:1]

    with pytest.raises(ValueError, match="given 2 observations and returned 2 actions and 1 states"):
        evaluate_policy(Forgetful(), Counting, episodes=2, seed=1)


def test_the_environments_that_were_made_are_closed_when_one_cannot_be():
    closed = []

    class Closing(Counting):
        def close(self):
            closed.append(self)

    made = []

    def make():
        if len(made) == 2:
            raise OSError("no more memory")
        made.append(Closing())
        return made[-1]

    with pytest.raises(OSError, match="no more memory"):
        evaluate_policy(Counter(), make, episodes=3, seed=1)
    assert closed == made


def test_one_episode_is_enough_and_the_first_seed_may_be_zero():
    class FromZero(Counting):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=seed + 1)

    outcome = evaluate_policy(Counter(), FromZero, episodes=1, seed=0, max_parallel=1)
    assert outcome.protocol["first_seed"] == 0
    assert outcome.protocol["episodes"] == 1
    assert outcome.protocol["greedy"] is True


def test_a_first_observation_that_is_not_finite_is_of_step_zero():
    class Broken(Counting):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            return (np.full(2, np.nan, np.float32) if seed == 4 else observation), info

    says = r"observation\[0\] = nan is not finite: .*Broken.*, episode 1 \(seed 4\), environment step 0"
    with pytest.raises(UserError, match=says):
        evaluate_policy(Counter(), Broken, episodes=3, seed=3)
