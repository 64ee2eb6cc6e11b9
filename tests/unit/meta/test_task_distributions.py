"""Tasks by seed: the same again, others in another split; sinusoids as published; losses and their gradients."""

import math

import numpy as np
import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.meta.losses import CrossEntropy, SquaredError, TaskLoss
from synrl_ray.meta.sinusoids import SinusoidDistribution
from synrl_ray.meta.tasks import MAX_SEED, SPLITS, TaskBatch, task_generator, uniforms


def test_a_task_depends_on_its_split_and_seed_alone():
    tasks = SinusoidDistribution(shots=5)
    together, alone = tasks.sample("train", [3, 4, 5]), tasks.sample("train", [4])
    for name in ("support_x", "support_y", "query_x", "query_y"):
        assert torch.equal(getattr(together, name)[1:2], getattr(alone, name))
    assert together.seeds == (3, 4, 5)


def test_splits_are_disjoint():
    drawn = np.concatenate([uniforms(split, range(2000), 2) for split in SPLITS])
    assert len(np.unique(drawn[:, 0])) == len(np.unique(drawn[:, 1])) == len(drawn)
    generators = [task_generator(split, seed).random() for split in SPLITS for seed in range(100)]
    assert len(set(generators)) == 300


def test_uniform_numbers_are_uniform_and_unrelated():
    drawn = uniforms("test", range(20_000), 3)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(drawn.var(0), 1 / 12, atol=0.002)
    both = np.concatenate([drawn, uniforms("train", range(20_000), 3)], axis=1)
    np.testing.assert_allclose(np.corrcoef(both.T), np.eye(6), atol=0.03)


def test_extreme_seeds_can_be_drawn():
    assert np.isfinite(uniforms("test", [0, MAX_SEED], 4)).all()


@pytest.mark.parametrize("seeds", [[-1], [0, MAX_SEED + 1], []])
def test_seeds_that_cannot_be_drawn(seeds):
    with pytest.raises(UserError, match="seed"):
        SinusoidDistribution().sample("train", seeds)


def test_unknown_split():
    with pytest.raises(UserError, match=r"unknown split 'valid'.*train, validation, test"):
        SinusoidDistribution().sample("valid", [0])


def test_sinusoids_of_the_published_ranges():
    batch = SinusoidDistribution(shots=50, query_shots=30).sample("train", range(500))
    assert batch.support_x.shape == (500, 50, 1)
    assert batch.query_y.shape == (500, 30, 1)
    assert batch.support_x.dtype == torch.float32
    assert -5 <= batch.support_x.min() < -4.99
    assert 4.99 < batch.support_x.max() <= 5
    # Least squares of y = a sin x + b cos x recovers amplitude and phase.
    x = torch.cat((batch.support_x, batch.query_x), 1).double()
    y = torch.cat((batch.support_y, batch.query_y), 1).double()
    a, b = torch.linalg.lstsq(torch.cat((x.sin(), x.cos()), -1), y).solution.squeeze(-1).unbind(1)
    amplitude, phase = torch.hypot(a, b), torch.atan2(-b, a)
    assert 0.1 <= amplitude.min() < 0.2
    assert 4.9 < amplitude.max() <= 5.0001
    assert phase.min() > -1e-4
    assert phase.max() < math.pi + 1e-4
    torch.testing.assert_close(y, amplitude[:, None, None] * (x - phase[:, None, None]).sin(), atol=1e-4, rtol=0)


def test_sinusoids_need_samples():
    with pytest.raises(ValueError, match="needs samples"):
        SinusoidDistribution(shots=0)


def test_chunks_hold_all_tasks_in_order():
    batch = SinusoidDistribution().sample("test", range(5))
    parts = list(batch.chunks(2))
    assert [part.seeds for part in parts] == [(0, 1), (2, 3), (4,)]
    assert torch.equal(torch.cat([part.query_x for part in parts]), batch.query_x)


def test_batches_that_are_not_of_the_same_tasks():
    x = torch.zeros(2, 3, 1)
    with pytest.raises(ValueError, match="query sets of 2 tasks"):
        TaskBatch(x, x, x, torch.zeros(2, 4, 1), SquaredError(), (0, 1))
    with pytest.raises(ValueError, match="support sets of 3 tasks"):
        TaskBatch(x, x, x, x, SquaredError(), (0, 1, 2))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [(SquaredError(), torch.randn(2, 3, 4).double()), (CrossEntropy(), torch.randint(4, (2, 3)))],
)
def test_gradients_of_losses_are_autograds(loss, targets):
    outputs = torch.randn(2, 3, 4).double()
    torch.testing.assert_close(loss.gradient(outputs, targets), TaskLoss.gradient(loss, outputs, targets))


def test_losses_equal_torchs():
    outputs, labels = torch.randn(2, 3, 4), torch.randint(4, (2, 3))
    for i in range(2):
        expected = torch.nn.functional.cross_entropy(outputs[i], labels[i])
        torch.testing.assert_close(CrossEntropy()(outputs, labels)[i], expected)
        expected = torch.nn.functional.mse_loss(outputs[i], outputs[0])
        torch.testing.assert_close(SquaredError()(outputs, outputs[:1].expand(2, -1, -1))[i], expected)


def test_accuracy_counts_right_samples():
    outputs = torch.eye(4)[None, :3].repeat(2, 1, 1)
    labels = torch.tensor([[0, 1, 2], [0, 2, 1]])
    assert CrossEntropy().accuracy(outputs, labels).tolist() == pytest.approx([1.0, 1 / 3])
    assert SquaredError().accuracy(outputs, outputs) is None
