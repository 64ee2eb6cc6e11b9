"""Advantages brought to one scale, and how a batch is divided, by hand."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.core.columns import Columns

from synrl_ray.algorithms.on_policy.train_batch import minibatches, num_minibatches, num_rows, shares, train_batch
from synrl_ray.sampling.rollout import empty_rollout


def rollout_of(rewards, *, state_size=0, sequence=None):
    """Steps of one environment each of which ends its episode: the advantage is the reward less the value."""
    rewards = np.asarray(rewards, np.float32)
    rollout = empty_rollout(
        (len(rewards), 1), Box(-1, 1, (1,), np.float32), Discrete(2), 2, state_size, sequence or len(rewards)
    )
    rollout.rewards[:, 0] = rewards
    rollout.terminated[:] = rollout.valid[:] = True
    rollout.observations[:, 0, 0] = np.arange(len(rewards))
    return rollout


def advantages_of(*rollouts, **options):
    settings = {"gamma": 0.9, "gae_lambda": 0.5, "standardise": False, **options}
    return train_batch(list(rollouts), **settings)[Columns.ADVANTAGES]


def test_all_runners_advantages_are_brought_to_one_scale():
    found = advantages_of(rollout_of([1.0, 2.0]), rollout_of([3.0, 6.0]), standardise=True)
    every = np.array([1.0, 2.0, 3.0, 6.0])
    assert found.tolist() == pytest.approx(((every - 3) / every.std()).tolist(), rel=1e-5)


def test_without_a_baseline_they_are_scaled_and_not_moved():
    rollout = rollout_of([1.0, 2.0, 3.0, 6.0])
    rollout.values[:] = 7.0
    found = advantages_of(rollout, standardise=True, use_baseline=False)
    every = np.array([1.0, 2.0, 3.0, 6.0])
    assert found.tolist() == pytest.approx((every / every.std()).tolist(), rel=1e-5)


def test_a_deviation_counts_from_a_ten_thousandth_on():
    found = advantages_of(rollout_of([-5e-5, 5e-5]), standardise=True)
    assert found.tolist() == pytest.approx([-0.5, 0.5], rel=1e-4)


def test_steps_that_are_none_have_no_say_in_the_scale():
    rollout = rollout_of([1.0, 3.0, 1000.0])
    rollout.valid[2] = False
    assert advantages_of(rollout, standardise=True).tolist() == pytest.approx([-1, 1])


def test_rewards_are_scaled_before_the_values_are_subtracted():
    rollout = rollout_of([2.0, 4.0])
    rollout.values[:] = 1.0
    assert advantages_of(rollout, reward_scale=0.5).tolist() == [0, 1]
    assert advantages_of(rollout).tolist() == [1, 3]
    assert rollout.rewards[:, 0].tolist() == [2, 4], "the rollout is left alone"


@pytest.mark.parametrize(
    ("rows", "size", "parts"),
    [(10, None, 1), (10, 5, 2), (10, 4, 2), (10, 3, 3), (10, 10, 1), (10, 100, 1), (10, 1, 10), (11, 4, 3)],
)
def test_parts_are_as_many_as_come_near_to_the_size_that_is_asked_for(rows, size, parts):
    batch = train_batch([rollout_of(np.zeros(rows))], gamma=1, gae_lambda=1, standardise=False)
    assert num_rows(batch) == rows
    assert num_minibatches(batch, size) == parts


@pytest.mark.parametrize(("size", "parts"), [(None, 1), (1, 4), (3, 4), (4, 2), (6, 2), (12, 1)])
def test_sequences_are_not_divided(size, parts):
    """Four sequences of three steps; a size of less than one is a sequence."""
    rollout = rollout_of(np.zeros(12), state_size=2, sequence=3)
    rollout.states[:, 0, 0] = np.arange(4)
    batch = train_batch([rollout], gamma=1, gae_lambda=1, standardise=False)
    assert num_rows(batch) == 4
    assert num_minibatches(batch, {4: 6}.get(size, size)) == parts
    assert batch[Columns.STATE_IN]["membranes"][:, 0].tolist() == [0, 1, 2, 3]
    assert batch[Columns.OBS][:, :, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_each_epoch_passes_over_every_row_once_in_another_order():
    torch.manual_seed(0)
    batch = train_batch([rollout_of(np.arange(20))], gamma=1, gae_lambda=1, standardise=False)
    passes = list(minibatches(batch, 3, 4))
    assert [num_rows(part) for part in passes] == [5] * 12
    epochs = [torch.cat([part[Columns.OBS][:, 0] for part in passes[i : i + 4]]).tolist() for i in (0, 4, 8)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 3
    assert epochs[0] != epochs[1] != epochs[2] != list(range(20))
    for part in passes:
        assert torch.equal(part[Columns.OBS][:, 0], part[Columns.ADVANTAGES]), "columns stay together"


def test_a_pass_in_one_part_and_the_shares_of_learners_keep_the_order():
    batch = train_batch([rollout_of(np.arange(7))], gamma=1, gae_lambda=1, standardise=False)
    (whole,) = minibatches(batch, 1, 1)
    assert whole[Columns.OBS][:, 0].tolist() == list(range(7))
    assert [part[Columns.OBS][:, 0].tolist() for part in shares(batch, 3)] == [[0, 1, 2], [3, 4], [5, 6]]
