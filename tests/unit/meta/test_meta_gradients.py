"""Meta-gradients of both engines: equal to each other, to stock learn2learn and to finite differences."""

import pytest
import torch

from synrl_ray.meta.learn2learn_loader import load_maml
from synrl_ray.meta.losses import SquaredError
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.networks import conv4, mlp, spiking_mlp
from synrl_ray.meta.sinusoids import SinusoidDistribution
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.meta.vmapped import VmappedNetwork
from synrl_ray.meta.written_out.network import WrittenOutNetwork
from synrl_ray.settings.maml import Maml
from synrl_ray.snn import LIF, Surrogate


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_steps": 2},
        {"inner_steps": 2, "order": "first"},
        {"anil": True},
        {"anil": True, "inner_steps": 3},
        {"anil": True, "inner_steps": 2, "order": "first", "multi_step_loss": True},
        {"inner_steps": 2, "multi_step_loss": True, "learn_inner_lr": "layer"},
        {"learn_inner_lr": "parameter"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_engines_agree(model_and_batch, settings, meta_gradients, assert_same):
    model, batch = model_and_batch
    expected = meta_gradients(model, batch, engine="learn2learn", **settings)
    assert_same(meta_gradients(model, batch, **settings), expected)


def test_written_out_gradients_equal_those_of_vmap(model_and_batch, meta_gradients, assert_same):
    model, batch = model_and_batch
    assert WrittenOutNetwork.of(model) is not None

    def without_fast_path(maml):
        maml._engine.body, maml._engine.network = None, VmappedNetwork(model)

    found = meta_gradients(model, batch, inner_steps=2)
    assert_same(found, meta_gradients(model, batch, inner_steps=2, prepare=without_fast_path), 1e-10)


@pytest.mark.parametrize("name", ["triangle", "box"])
def test_written_out_gradients_of_surrogates_with_compact_support(name, meta_gradients, assert_same):
    torch.manual_seed(0)
    model = spiking_mlp(hidden_sizes=(8, 6), num_steps=4, surrogate=Surrogate(name)).double()
    batch = SinusoidDistribution(shots=4).sample("train", range(3)).to(torch.float64)
    assert WrittenOutNetwork.of(model) is not None

    def without_fast_path(maml):
        maml._engine.body, maml._engine.network = None, VmappedNetwork(model)

    found = meta_gradients(model, batch, inner_steps=2)
    assert_same(found, meta_gradients(model, batch, inner_steps=2, prepare=without_fast_path), 1e-10)
    assert_same(found, meta_gradients(model, batch, inner_steps=2, engine="learn2learn"))


def test_neurons_with_other_equations_go_through_vmap():
    for settings in ({"reset": "zero"}, {"learn_beta": True}, {"graded": True}):
        model = spiking_mlp()
        model[1].neuron = LIF(kernel="functional", hold=8, **settings)
        assert WrittenOutNetwork.of(model) is None


class Other(LIF):
    pass


WATCHED = {
    "forward hook": lambda layer: layer.register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda layer: layer.register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda layer: layer.register_full_backward_hook(lambda *_: None),
    "own forward": lambda layer: setattr(layer, "forward", layer.forward),
}


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("place", ["", "1", "1.neuron", "2"])
def test_layers_that_are_more_than_their_class_go_through_vmap(place, name):
    model = spiking_mlp()
    assert WrittenOutNetwork.of(model) is not None
    WATCHED[name](model.get_submodule(place))
    assert WrittenOutNetwork.of(model) is None


def test_parts_of_layers_that_were_replaced_go_through_vmap():
    model = conv4()
    assert WrittenOutNetwork.of(model) is not None
    model[1][1] = torch.nn.Identity()
    assert WrittenOutNetwork.of(model) is None
    model = conv4()
    torch.nn.utils.parametrizations.weight_norm(model[0][0])
    assert WrittenOutNetwork.of(model) is None
    model = spiking_mlp()
    model[1].neuron = Other(hold=8, kernel="functional")
    assert WrittenOutNetwork.of(model) is None


def test_linear_layers_take_samples_of_any_rank(meta_gradients, assert_same):
    torch.manual_seed(0)
    model = mlp(2, (3,), 2).double()
    support, query, support_y, query_y = torch.randn(4, 3, 4, 5, 2, dtype=torch.float64)
    batch = TaskBatch(support, support_y, query, query_y, SquaredError(), (0, 1, 2))
    assert_same(meta_gradients(model, batch), meta_gradients(model, batch, engine="learn2learn"))


def test_equals_the_loop_of_learn2learns_own_examples(small, meta_gradients, assert_same):
    model, batch = small
    stock = load_maml()(model, lr=0.1)
    stock.zero_grad()
    for task in batch.chunks(1):
        learner = stock.clone()
        for _ in range(2):
            learner.adapt(torch.nn.functional.mse_loss(learner(task.support_x[0]), task.support_y[0]))
        (torch.nn.functional.mse_loss(learner(task.query_x[0]), task.query_y[0]) / len(batch)).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    assert_same(meta_gradients(model, batch, inner_steps=2), expected)


@pytest.mark.parametrize("learned", ["none", "layer"])
def test_equals_finite_differences(small, learned):
    model, batch = small
    maml = MamlModel(model, Maml(inner_lr=0.1, inner_steps=2, learn_inner_lr=learned))
    maml.outer_loss(batch)[0].backward()
    step = 1e-6
    for p in maml.parameters():
        flat = p.data.view(-1)
        for i in range(0, len(flat), 7):
            start = flat[i].item()
            values = []
            for moved in (start + step, start - step):
                flat[i] = moved
                values.append(maml.outer_loss(batch)[0].item())
            flat[i] = start
            assert p.grad.view(-1)[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-7)


def test_first_order_gives_another_gradient(model_and_batch, meta_gradients):
    model, batch = model_and_batch
    first, second = (meta_gradients(model, batch, order=order) for order in ("first", "second"))
    largest = max(g.abs().max() for g in second)
    assert max((a - b).abs().max() for a, b in zip(first, second, strict=True)) > 1e-3 * largest


def test_first_order_gradient_is_that_of_the_adapted_parameters(small, meta_gradients, assert_same):
    model, batch = small
    adapted = MamlModel(model, Maml(inner_lr=0.1)).adapt(batch)
    expected = [torch.zeros_like(p) for p in model.parameters()]
    for i in range(len(batch)):
        alone = {name: p[i].requires_grad_() for name, p in adapted.items()}
        outputs = torch.func.functional_call(model, alone, (batch.query_x[i],))
        loss = (outputs - batch.query_y[i]).square().mean() / len(batch)
        for total, g in zip(expected, torch.autograd.grad(loss, list(alone.values())), strict=True):
            total += g
    assert_same(meta_gradients(model, batch, order="first"), expected, 1e-10)
