"""Advantages against their definition, written out for one environment and one step at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.sampling.rollout import Rollout, advantages, join

finite = st.floats(-10, 10, width=32)


def rollout_of(values, rewards, terminated, truncated, valid):
    num_steps, num_envs = rewards.shape
    starts = np.zeros((num_steps, num_envs), np.bool_)
    starts[1:] = ~valid[:-1]
    return Rollout(
        observations=np.arange(num_steps * num_envs, dtype=np.float32).reshape(num_steps, num_envs, 1),
        actions=np.zeros((num_steps, num_envs), np.int64),
        inputs=np.zeros((num_steps, num_envs, 2), np.float32),
        logp=np.zeros((num_steps, num_envs), np.float32),
        values=np.asarray(values, np.float32),
        rewards=np.asarray(rewards, np.float32),
        terminated=terminated,
        truncated=truncated,
        valid=valid,
        starts=starts,
        states=np.zeros((1, num_envs, 0), np.float32),
    )


@st.composite
def rollouts(draw):
    """Any ends of episodes, each followed by a step that is the reset and no transition."""
    num_steps, num_envs = draw(st.integers(1, 10)), draw(st.integers(1, 3))
    shape = (num_steps, num_envs)
    terminated, truncated = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    valid, rewards = np.ones(shape, np.bool_), np.zeros(shape, np.float32)
    for n in range(num_envs):
        ended = draw(st.booleans())  # the fragment may begin with the reset of an episode that ended before
        for t in range(num_steps):
            if ended:
                valid[t, n], ended = False, False
                continue
            terminated[t, n], truncated[t, n] = draw(
                st.sampled_from([(False, False), (False, False), (True, False), (False, True), (True, True)])
            )
            rewards[t, n] = draw(finite)
            ended = bool(terminated[t, n] or truncated[t, n])
    values = np.array(draw(st.lists(finite, min_size=(num_steps + 1) * num_envs, max_size=(num_steps + 1) * num_envs)))
    return rollout_of(values.reshape(num_steps + 1, num_envs), rewards, terminated, truncated, valid)


def following(rollout, t, n):
    """The steps from ``t`` on that belong to the episode of step ``t``, as far as the fragment goes."""
    while t < len(rollout.rewards) and rollout.valid[t, n]:
        yield t
        if rollout.terminated[t, n] or rollout.truncated[t, n]:
            return
        t += 1


def td_error(rollout, gamma, t, n):
    after = 0.0 if rollout.terminated[t, n] else float(rollout.values[t + 1, n])
    return float(rollout.rewards[t, n]) + gamma * after - float(rollout.values[t, n])


def by_definition(rollout, gamma, gae_lambda):
    result = np.zeros(rollout.rewards.shape)
    for t, n in np.argwhere(rollout.valid):
        for k, step in enumerate(following(rollout, t, n)):
            result[t, n] += (gamma * gae_lambda) ** k * td_error(rollout, gamma, step, n)
    return result


fractions = st.floats(0, 1)


@settings(deadline=None, max_examples=150)
@given(rollouts(), fractions, fractions)
def test_advantages_equal_the_discounted_sum_of_td_errors_within_the_episode(rollout, gamma, gae_lambda):
    result = advantages(rollout, gamma, gae_lambda)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_definition(rollout, gamma, gae_lambda), atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=75)
@given(rollouts(), fractions)
def test_lambda_one_gives_discounted_n_step_returns_less_the_value(rollout, gamma):
    result = advantages(rollout, gamma, 1.0)
    for t, n in np.argwhere(rollout.valid):
        steps = list(following(rollout, t, n))
        n_step_return = sum(gamma**k * float(rollout.rewards[step, n]) for k, step in enumerate(steps))
        if not rollout.terminated[steps[-1], n]:
            n_step_return += gamma ** len(steps) * float(rollout.values[steps[-1] + 1, n])
        assert result[t, n] == pytest.approx(n_step_return - float(rollout.values[t, n]), abs=1e-3)


@settings(deadline=None, max_examples=75)
@given(rollouts(), fractions)
def test_lambda_zero_gives_td_errors(rollout, gamma):
    result = advantages(rollout, gamma, 0.0)
    for t, n in np.argwhere(rollout.valid):
        assert result[t, n] == pytest.approx(td_error(rollout, gamma, t, n), abs=1e-4)


@settings(deadline=None, max_examples=75)
@given(rollouts(), fractions, fractions, finite)
def test_steps_that_are_not_valid_are_zero_and_their_rewards_and_ends_change_nothing(rollout, gamma, gae_lambda, noise):
    before = advantages(rollout, gamma, gae_lambda)
    assert (before[~rollout.valid] == 0).all()
    rollout.rewards[~rollout.valid] = noise
    rollout.terminated[~rollout.valid] = True
    np.testing.assert_array_equal(advantages(rollout, gamma, gae_lambda), before)


@settings(deadline=None, max_examples=75)
@given(rollouts(), fractions, fractions)
def test_environments_do_not_touch_one_another(rollout, gamma, gae_lambda):
    together = advantages(rollout, gamma, gae_lambda)
    for n in range(rollout.valid.shape[1]):
        columns = (rollout.values, rollout.rewards, rollout.terminated, rollout.truncated, rollout.valid)
        alone = rollout_of(*(column[:, n : n + 1] for column in columns))
        np.testing.assert_array_equal(advantages(alone, gamma, gae_lambda), together[:, n : n + 1])


@settings(deadline=None, max_examples=75)
@given(rollouts(), st.data())
def test_pieces_that_follow_one_another_join_to_the_whole(rollout, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rollout.valid)))) | {0, len(rollout.valid)})
    pieces = [
        Rollout(
            **{
                name: column if name == "states" else column[first : last + (name == "values")].copy()
                for name, column in vars(rollout).items()
            }
        )
        for first, last in itertools.pairwise(cuts)
    ]
    joined = join(pieces)
    for name, column in vars(rollout).items():
        expected = np.concatenate([column] * len(pieces)) if name == "states" else column
        np.testing.assert_array_equal(getattr(joined, name), expected, err_msg=name)
    assert joined.num_steps == rollout.num_steps == sum(piece.num_steps for piece in pieces)


def column(*numbers, dtype=np.float32):
    return np.array(numbers, dtype).reshape(-1, 1)


def test_truncation_bootstraps_from_the_final_observation_and_termination_does_not():
    # Two steps and the reset step, whose observation is the final one with the value 8. gamma = 0.5, lambda = 0.5.
    def result(terminated, truncated):
        none = column(0, 0, 0, dtype=np.bool_)
        last = column(0, 1, 0, dtype=np.bool_)
        valid = column(1, 1, 0, dtype=np.bool_)
        rollout = rollout_of(
            column(2, 4, 8, 100), column(1, 3, 0), last if terminated else none, last if truncated else none, valid
        )
        return advantages(rollout, 0.5, 0.5)[:, 0].tolist()

    # d_1 = 3 + 0.5 * 8 - 4 = 3, d_0 = 1 + 0.5 * 4 - 2 = 1, A_0 = 1 + 0.25 * 3
    assert result(terminated=False, truncated=True) == [1.75, 3.0, 0.0]
    # d_1 = 3 - 4 = -1, A_0 = 1 + 0.25 * (-1)
    assert result(terminated=True, truncated=False) == [0.75, -1.0, 0.0]
    assert result(terminated=True, truncated=True) == [0.75, -1.0, 0.0]


def test_fragment_that_ends_in_mid_episode_bootstraps_from_its_last_value():
    no = column(0, 0, dtype=np.bool_)
    rollout = rollout_of(column(2, 4, 8), column(1, 3), no, no, ~no)
    assert advantages(rollout, 0.5, 1.0)[:, 0].tolist() == [2.5, 3.0]  # 1 + 1.5 + 2 - 2, 3 + 4 - 4


def test_next_episode_does_not_leak_through_the_reset():
    ends = column(1, 0, 0, dtype=np.bool_)
    valid = column(1, 0, 1, dtype=np.bool_)
    no = column(0, 0, 0, dtype=np.bool_)
    rollout = rollout_of(column(0, 0, 0, 0), column(1, 0, 1000), no, ends, valid)
    assert advantages(rollout, 1.0, 1.0)[:, 0].tolist() == [1.0, 0.0, 1000.0]
