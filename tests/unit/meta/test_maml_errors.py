"""What cannot be meta-learned is refused in words that say what to do."""

import logging

import pytest
import snntorch
import torch
from torch import nn

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.meta import engine_vmap, families
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.networks import conv4, spiking_conv4
from synrl_ray.meta.sharding import Shard
from synrl_ray.settings.maml import Maml
from synrl_ray.settings.meta import AnnLearner, OmniglotTasks
from synrl_ray.snn import SpikingMLP


class WithLeaky(nn.Module):
    """A neuron of snntorch between two linear layers; its beta adapts, too."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(1, 6), nn.Linear(6, 1)
        self.neuron = snntorch.Leaky(beta=0.8, learn_beta=True)

    def forward(self, x):
        current = self.first(x)
        membrane, spikes = torch.zeros_like(current), []
        for _ in range(4):
            fired, membrane = self.neuron(current, membrane)
            spikes.append(fired.to(current.dtype))
        return self.last(torch.stack(spikes).mean(0))


class OutputsOnly(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.unsqueeze(0))[0].squeeze(0)


def leaky():
    torch.manual_seed(0)
    model = WithLeaky().double()
    with torch.no_grad():
        model.first.weight.mul_(3)
    return model


def test_a_clone_of_a_snntorch_neuron_adapts_its_own_beta(small, meta_gradients, assert_same):
    """learn2learn's clone() alone keeps the original's methods, which read the original's beta."""
    _, batch = small
    model = leaky()
    maml = MamlModel(model, Maml(inner_lr=0.5, inner_steps=2, engine="learn2learn"))
    start = model.neuron.beta.item()
    adapted = maml.adapt(batch)
    assert (adapted["neuron.beta"] - start).abs().min() > 0
    for i in range(len(batch)):  # by hand, on the model itself
        by_hand = leaky()
        for _ in range(2):
            loss = (by_hand(batch.support_x[i]) - batch.support_y[i]).square().mean()
            for p, g in zip(by_hand.parameters(), torch.autograd.grad(loss, by_hand.parameters()), strict=True):
                p.data -= 0.5 * g
        for name, p in by_hand.named_parameters():
            torch.testing.assert_close(adapted[name][i], p.detach())


def test_vmap_names_the_operation_that_it_cannot_take(small):
    with pytest.raises(UserError, match=r"engine 'vmap' cannot take .*in neuron .*learn2learn") as caught:
        MamlModel(leaky(), Maml()).outer_loss(small[1])
    assert "autograd.Function" in str(caught.value)


def test_learn2learn_names_the_function_without_second_derivative(small):
    net = OutputsOnly(SpikingMLP(1, (4,), 1, kernel="torch").double())
    with pytest.raises(UserError, match=r"cannot take _LIFScan: it has no second derivative.*engine='vmap'"):
        MamlModel(net, Maml(engine="learn2learn")).outer_loss(small[1])
    MamlModel(net, Maml(engine="learn2learn", order="first")).outer_loss(small[1])


def test_vmap_takes_spiking_layers_as_the_library_builds_them(small):
    MamlModel(OutputsOnly(SpikingMLP(1, (4,), 1).double()), Maml()).outer_loss(small[1])


@pytest.mark.parametrize("engine", ["vmap", "learn2learn"])
def test_a_loss_that_is_not_finite_names_the_task(small, engine):
    model, batch = small
    batch.query_y[1, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"meta-loss is not finite \(task with seed 1, meta-iteration 7\)"):
        MamlModel(model, Maml(engine=engine)).outer_loss(batch, iteration=7)


def test_running_statistics_are_refused():
    with pytest.raises(UserError, match="batch norm 1 keeps running statistics"):
        MamlModel(nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)), Maml())


def test_a_model_without_parameters_is_refused():
    with pytest.raises(UserError, match="no parameters that could adapt"):
        MamlModel(nn.ReLU(), Maml())


def test_inputs_that_do_not_fit_are_torchs_own_error(small):
    """Not the engine's fault: the same without it."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    with pytest.raises(RuntimeError, match="Expected size"):
        MamlModel(model, Maml()).outer_loss(small[1])


def test_what_cannot_be_compiled_runs_as_it_is(small, monkeypatch, caplog, meta_gradients, assert_same):
    def no_compiler(function):
        def fail(*_):
            raise RuntimeError("no C++ compiler\n" + "a long story\n" * 30)

        return fail

    monkeypatch.setattr(engine_vmap.torch, "compile", no_compiler)
    with caplog.at_level(logging.WARNING):
        found = meta_gradients(*small, compile=True)
    assert caplog.messages == ["not compiled, runs as it is: no C++ compiler"]
    assert_same(found, meta_gradients(*small), 1e-12)


def test_evaluation_that_diverges_names_the_task(small):
    model, batch = small
    with pytest.raises(NonFiniteError, match=r"query loss is not finite \(task with seed 0, at most 60 inner steps\)"):
        MamlModel(model, Maml(inner_lr=100.0)).evaluate(batch, 60)


def test_images_too_small_for_four_halvings_and_filters_of_three_blocks():
    for build in (conv4, spiking_conv4):
        with pytest.raises(ValueError, match="leave nothing of a 15 x 28 image"):
            build((1, 15, 28))
        with pytest.raises(ValueError, match="four blocks, got 3"):
            build(channels=(8, 8, 16))
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        spiking_conv4(num_steps=0)


@pytest.mark.parametrize("channels", [0, (8, 8, 0, 8), (8, 8, 8)])
def test_filters_that_cannot_be(channels):
    with pytest.raises(ValueError, match="channels"):
        AnnLearner(channels=channels)


def test_worker_without_data_says_so(tmp_path, monkeypatch):
    def missing(*_):
        raise UserError("Omniglot is not here", "")

    monkeypatch.setattr(families, "load_omniglot", missing)
    shard = Shard(OmniglotTasks(), AnnLearner(channels=4), Maml())  # in a constructor, Ray would call it a death
    with pytest.raises(UserError, match="Omniglot is not here"):
        shard.gradients(shard.maml.state_dict(), [0], 0)
