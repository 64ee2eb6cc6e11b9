"""Legend: observation = 1000 runner + 10 step + environment, so that every number tells where it comes from."""

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from synrl_ray.algorithms.on_policy.train_batch import (
    minibatches,
    num_minibatches,
    num_rows,
    num_valid,
    shares,
    train_batch,
)
from synrl_ray.rl_modules.actor_critic import EPISODE_STARTS, STATE
from synrl_ray.sampling.rollout import Rollout, advantages

STEPS, ENVS, LENGTH = 6, 2, 3
NUMBERED = np.arange(STEPS)[:, None] * 10 + np.arange(ENVS)


def runner(index, *, state_size=0, ends=(), terminates=True):
    """One runner's fragment with episodes that end at ``(step, environment)``."""
    rng = np.random.default_rng(index)
    shape = (STEPS, ENVS)
    ended, valid, starts = np.zeros(shape, np.bool_), np.ones(shape, np.bool_), np.zeros(shape, np.bool_)
    for t, n in ends:
        ended[t, n] = True
        valid[t + 1, n] = False
        starts[t + 2, n] = True
    sequences = STEPS // LENGTH if state_size else 1
    states = 1000 * index + 10 * LENGTH * np.arange(sequences)[:, None, None] + np.arange(ENVS)[:, None]
    return Rollout(
        observations=(1000 * index + NUMBERED)[..., None].astype(np.float32),
        actions=1000 * index + NUMBERED,
        inputs=rng.normal(size=(*shape, 2)).astype(np.float32),
        logp=(-1000 * index - NUMBERED).astype(np.float32),
        values=rng.normal(size=(STEPS + 1, ENVS)).astype(np.float32),
        rewards=np.where(valid, rng.normal(size=shape), 0).astype(np.float32),
        terminated=ended & terminates,
        truncated=ended & (not terminates),
        valid=valid,
        starts=starts,
        states=np.repeat(states, state_size, axis=2).astype(np.float32),
    )


ROLLOUTS = [runner(0, ends=[(1, 0), (3, 1)]), runner(1, ends=[(0, 1)], terminates=False)]
CARRIED = [
    runner(0, ends=[(1, 0), (3, 1)], state_size=4),
    runner(1, ends=[(0, 1)], terminates=False, state_size=4),
]


def batch_of(rollouts, *, standardise=False, **settings):
    return train_batch(rollouts, gamma=0.9, gae_lambda=0.8, standardise=standardise, **settings)


def test_rows_are_the_valid_steps_of_all_runners():
    batch = batch_of(ROLLOUTS)
    assert num_rows(batch) == 2 * STEPS * ENVS - 3
    expected = np.concatenate([r.observations[r.valid] for r in ROLLOUTS])
    np.testing.assert_array_equal(batch[Columns.OBS], expected)
    resets = {20, 41, 1011}
    assert set(batch[Columns.OBS].flatten().tolist()).isdisjoint(resets)
    np.testing.assert_array_equal(batch[Columns.ACTIONS], expected[:, 0])
    np.testing.assert_array_equal(batch[Columns.ACTION_LOGP], -expected[:, 0])
    assert set(batch) == {
        Columns.OBS,
        Columns.ACTIONS,
        Columns.ACTION_LOGP,
        Columns.ACTION_DIST_INPUTS,
        Columns.ADVANTAGES,
        Columns.VALUE_TARGETS,
    }
    assert {len(column) for column in batch.values()} == {num_rows(batch)}


def test_advantages_and_value_targets_belong_to_their_rows():
    batch = batch_of(ROLLOUTS)
    expected = [advantages(r, 0.9, 0.8) for r in ROLLOUTS]
    pairs = list(zip(expected, ROLLOUTS, strict=True))
    np.testing.assert_array_equal(batch[Columns.ADVANTAGES], np.concatenate([a[r.valid] for a, r in pairs]))
    targets = np.concatenate([(a + r.values[:-1])[r.valid] for a, r in pairs])
    np.testing.assert_allclose(batch[Columns.VALUE_TARGETS], targets, rtol=1e-6)


@pytest.mark.parametrize("rollouts", [ROLLOUTS, CARRIED], ids=["rows", "sequences"])
def test_advantages_are_standardised_over_the_valid_steps_of_all_runners_together(rollouts):
    plain, batch = batch_of(rollouts), batch_of(rollouts, standardise=True)

    def valid(column):
        return column[batch[Columns.LOSS_MASK]] if Columns.LOSS_MASK in batch else column

    before, after = valid(plain[Columns.ADVANTAGES]), valid(batch[Columns.ADVANTAGES])
    assert len(after) == 2 * STEPS * ENVS - 3
    assert after.mean().item() == pytest.approx(0, abs=1e-6)
    assert after.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(after, (before - before.mean()) / before.std(correction=0))
    torch.testing.assert_close(batch[Columns.VALUE_TARGETS], plain[Columns.VALUE_TARGETS])


def test_advantages_that_are_all_alike_become_zero():
    alike = runner(0)
    alike.values[:], alike.rewards[:] = 0, 0
    batch = batch_of([alike], standardise=True)
    assert (batch[Columns.ADVANTAGES] == 0).all()


def test_sequences_hold_the_steps_of_one_environment_in_order_with_the_state_at_their_start():
    batch = batch_of(CARRIED)
    assert num_rows(batch) == 2 * ENVS * STEPS // LENGTH
    for observations, state in zip(batch[Columns.OBS], batch[Columns.STATE_IN][STATE], strict=True):
        first = observations[0].item()
        assert observations.flatten().tolist() == [first, first + 10, first + 20]
        assert state.tolist() == [first] * 4
    firsts = sorted(batch[Columns.OBS][:, 0, 0].tolist())
    assert firsts == [0, 1, 30, 31, 1000, 1001, 1030, 1031]


def test_columns_of_sequences_stay_together():
    batch = batch_of(CARRIED)
    assert set(batch) >= {Columns.LOSS_MASK, EPISODE_STARTS, Columns.STATE_IN}
    columns = {
        Columns.LOSS_MASK: [r.valid for r in CARRIED],
        EPISODE_STARTS: [r.starts for r in CARRIED],
        Columns.ACTION_DIST_INPUTS: [r.inputs for r in CARRIED],
        Columns.ADVANTAGES: [advantages(r, 0.9, 0.8) for r in CARRIED],
        Columns.ACTION_LOGP: [r.logp for r in CARRIED],
    }
    for b, sequence in enumerate(batch[Columns.OBS][..., 0].long().tolist()):
        for step, number in enumerate(sequence):
            index, t, n = number // 1000, number % 1000 // 10, number % 10
            for name, of_runners in columns.items():
                np.testing.assert_array_equal(batch[name][b, step], of_runners[index][t, n], err_msg=name)


def test_without_baseline_advantages_are_the_discounted_rewards_to_go():
    rollout = runner(0, ends=[(1, 0), (3, 1)], terminates=False)
    batch = batch_of([rollout], use_baseline=False)
    lasts = {0: [1, 1, None, 5, 5, 5], 1: [3, 3, 3, 3, None, 5]}
    expected = np.zeros((STEPS, ENVS))
    for n, of_env in lasts.items():
        for t, last in enumerate(of_env):
            if last is not None:
                expected[t, n] = sum((0.9 * 0.8) ** (k - t) * rollout.rewards[k, n] for k in range(t, last + 1))
    np.testing.assert_allclose(batch[Columns.ADVANTAGES], expected[rollout.valid], rtol=1e-5)
    np.testing.assert_array_equal(batch[Columns.VALUE_TARGETS], batch[Columns.ADVANTAGES])
    assert rollout.values.any(), "the rollout itself is left as it was"


def test_integers_stay_integers():
    rollout = runner(0)
    rollout.observations = rollout.observations.astype(np.uint8)
    batch = batch_of([rollout])
    assert batch[Columns.OBS].dtype == torch.uint8
    assert batch[Columns.ACTIONS].dtype == torch.int64
    assert batch[Columns.ADVANTAGES].dtype == torch.float32


def test_minibatches_take_whole_rows_of_every_column_and_of_the_states():
    batch = batch_of(CARRIED)
    parts = list(minibatches(batch, 1, num_minibatches(batch, 2 * LENGTH)))
    assert [num_rows(part) for part in parts] == [2] * (num_rows(batch) // 2)
    place = {int(row[0]): i for i, row in enumerate(batch[Columns.ACTIONS])}  # numbered by where they come from
    chosen = [[place[int(step[0])] for step in part[Columns.ACTIONS]] for part in parts]
    assert sorted(row for rows in chosen for row in rows) == list(range(num_rows(batch)))
    for part, rows in zip(parts, chosen, strict=True):
        assert set(part) == set(batch)
        for name in set(batch) - {Columns.STATE_IN}:
            assert torch.equal(part[name], batch[name][rows]), name
        assert torch.equal(part[Columns.STATE_IN][STATE], batch[Columns.STATE_IN][STATE][rows])


def test_valid_steps_are_those_of_the_mask_or_all():
    batch = batch_of(CARRIED)
    batch[Columns.LOSS_MASK][:] = False
    batch[Columns.LOSS_MASK][1, 0] = True
    assert num_valid(batch) == 1
    del batch[Columns.LOSS_MASK]
    assert num_valid(batch) == num_rows(batch)


def test_shares_for_learners_hold_every_row_once_in_parts_that_differ_by_one_at_most():
    batch = batch_of(CARRIED)
    parts = shares(batch, 3)
    sizes = [num_rows(part) for part in parts]
    assert sum(sizes) == num_rows(batch)
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([part[Columns.ACTIONS] for part in parts]), batch[Columns.ACTIONS])
