"""What each setting of MAML does."""

import pytest
import torch

from synrl_ray.meta.maml import MamlModel
from synrl_ray.settings.maml import Maml


@pytest.mark.parametrize("engine", ["vmap", "learn2learn"])
def test_one_inner_step_is_gradient_descent_on_the_support_set(small, engine):
    model, batch = small
    adapted = MamlModel(model, Maml(inner_lr=0.1, engine=engine)).adapt(batch)
    for i in range(len(batch)):
        loss = (model(batch.support_x[i]) - batch.support_y[i]).square().mean()
        for (name, p), g in zip(model.named_parameters(), torch.autograd.grad(loss, model.parameters()), strict=True):
            torch.testing.assert_close(adapted[name][i], p - 0.1 * g)
            assert not adapted[name].requires_grad


@pytest.mark.parametrize("engine", ["vmap", "learn2learn"])
def test_anil_adapts_the_last_layer_alone(model_and_batch, engine):
    model, batch = model_and_batch
    maml = MamlModel(model, Maml(inner_lr=0.1, anil=True, engine=engine))
    assert len(maml.adapting) == 2
    for name, p in maml.adapt(batch).items():
        assert torch.equal(p, model.get_parameter(name).expand_as(p)) == (name not in maml.adapting)


def test_anil_still_learns_the_other_layers(small, meta_gradients):
    assert all(g.abs().max() > 0 for g in meta_gradients(*small, anil=True))


@pytest.mark.parametrize(("learned", "numbers"), [("layer", 1), ("parameter", 8)])
def test_learned_rates_get_gradients(small, learned, numbers):
    model, batch = small
    maml = MamlModel(model, Maml(inner_lr=0.1, learn_inner_lr=learned))
    maml.outer_loss(batch)[0].backward()
    assert len(maml.inner_rates) == 6
    assert maml.inner_rates[1].numel() == numbers
    assert all(rate.grad.abs().max() > 0 for rate in maml.inner_rates)


def test_fixed_rates_are_no_parameters(small):
    model, _ = small
    assert list(MamlModel(model, Maml()).parameters()) == list(model.parameters())


def test_multi_step_weights_move_from_equal_to_the_last_alone(small):
    maml = MamlModel(small[0], Maml(inner_steps=4, multi_step_loss=True, multi_step_iterations=100))
    assert maml.query_weights(0) == (0.0, 0.25, 0.25, 0.25, 0.25)
    assert maml.query_weights(50) == (0.0, 0.125, 0.125, 0.125, 0.625)
    assert maml.query_weights(100) == maml.query_weights(1000) == (0.0, 0.0, 0.0, 0.0, 1.0)
    assert MamlModel(small[0], Maml(inner_steps=2)).query_weights(0) == (0.0, 0.0, 1.0)


def test_multi_step_loss_is_the_weighted_sum(small):
    model, batch = small
    maml = MamlModel(model, Maml(inner_lr=0.1, inner_steps=3, multi_step_loss=True))
    loss, metrics = maml.outer_loss(batch)
    assert metrics.query_loss.shape == (3, 3)
    assert loss.item() == pytest.approx(metrics.query_loss.mean().item())


def test_derivative_order_is_annealed(small, meta_gradients, assert_same):
    settings = {"inner_steps": 2, "first_order_until": 10}
    assert_same(meta_gradients(*small, 9, **settings), meta_gradients(*small, inner_steps=2, order="first"), 1e-12)
    assert_same(meta_gradients(*small, 10, **settings), meta_gradients(*small, inner_steps=2), 1e-12)


@pytest.mark.parametrize("size", [1, 2])
def test_chunks_change_nothing(model_and_batch, size, meta_gradients, assert_same):
    model, batch = model_and_batch
    assert_same(meta_gradients(model, batch, chunk_size=size), meta_gradients(model, batch), 1e-10)


def test_chunks_keep_the_order_of_tasks(small):
    model, batch = small
    whole, parts = (MamlModel(model, Maml(inner_lr=0.1, chunk_size=size)) for size in (None, 2))
    torch.testing.assert_close(whole.evaluate(batch).query_loss, parts.evaluate(batch).query_loss)
    for name, p in whole.adapt(batch).items():
        torch.testing.assert_close(p, parts.adapt(batch)[name])


@pytest.mark.parametrize("engine", ["vmap", "learn2learn"])
def test_evaluation_follows_the_query_loss_over_the_steps(small, engine):
    model, batch = small
    maml = MamlModel(model, Maml(inner_lr=0.1, engine=engine))
    metrics = maml.evaluate(batch, num_steps=3)
    assert metrics.query_loss.shape == (3, 4)
    assert metrics.support_loss.shape == (3, 3)
    assert metrics.query_accuracy is None
    before = (model(batch.query_x) - batch.query_y).square().mean((1, 2))
    torch.testing.assert_close(metrics.query_loss[:, 0], before.detach())
    assert not metrics.query_loss.requires_grad


def test_the_loss_can_be_scaled_and_summed_with_others(small):
    model, batch = small
    maml = MamlModel(model, Maml(inner_lr=0.1))
    maml.outer_loss(batch)[0].backward()
    alone = [p.grad.clone() for p in model.parameters()]
    maml.zero_grad()
    decay = sum(p.square().sum() for p in model.parameters())
    (3 * maml.outer_loss(batch)[0] + decay).backward()
    for p, g in zip(model.parameters(), alone, strict=True):
        torch.testing.assert_close(p.grad, 3 * g + 2 * p.detach())


def test_without_gradients_there_are_none(small):
    model, batch = small
    with torch.no_grad():
        loss, _ = MamlModel(model, Maml()).outer_loss(batch)
    assert not loss.requires_grad


def test_frozen_parameters_stay(small):
    model, batch = small
    model[0].weight.requires_grad_(False)
    for engine in ("vmap", "learn2learn"):
        maml = MamlModel(model, Maml(inner_lr=0.1, engine=engine))
        assert "0.weight" not in maml.adapting
        adapted = maml.adapt(batch)
        assert torch.equal(adapted["0.weight"], model[0].weight.expand_as(adapted["0.weight"]))
        maml.outer_loss(batch)[0].backward()
        assert model[0].weight.grad is None


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"inner_lr": 0.0}, "inner_lr must be > 0"),
        ({"inner_lr": -0.1}, "inner_lr must be > 0"),
        ({"inner_lr": float("nan")}, "inner_lr must be finite"),
        ({"inner_steps": 0}, "inner_steps must be >= 1"),
        ({"chunk_size": 0}, "chunk_size must be >= 1"),
        ({"multi_step_iterations": 0}, "multi_step_iterations must be >= 1"),
        ({"order": "first", "first_order_until": 5}, "never becomes second order"),
        ({"compile": True, "multi_step_loss": True}, "compile anew"),
        ({"compile": True, "engine": "learn2learn"}, "compile=true needs engine='vmap'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Maml(**settings)
