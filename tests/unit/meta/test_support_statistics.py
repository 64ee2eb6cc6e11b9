"""Batch norm by the support set's moments: no answer depends on what else is asked."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.kinds.meta.judging import statistics_of
from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.networks import conv4, mlp, spiking_conv4
from synrl_ray.meta.sizes import samples_at_once
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.settings.maml import Maml

NETWORKS = {
    "ann": lambda: conv4((1, 16, 16), 3, channels=(4, 5, 4, 6)),
    "spiking": lambda: spiking_conv4((1, 16, 16), 3, channels=(4, 5, 4, 6), num_steps=3),
}


def batch(*, same: bool = False, seed: int = 0) -> TaskBatch:
    """Two tasks of three classes, with one support image of each and two queries; or the same images in both."""
    generator = torch.Generator().manual_seed(seed)
    support = torch.rand(2, 3, 1, 16, 16, generator=generator, dtype=torch.float64)
    query = support if same else torch.rand(2, 6, 1, 16, 16, generator=generator, dtype=torch.float64)
    labels, asked = torch.arange(3).expand(2, 3), torch.arange(query.shape[1]).remainder(3).expand(2, -1)
    return TaskBatch(support, labels, query, asked, CrossEntropy(), (0, 1))


def made(kind: str, **settings) -> MamlModel:
    torch.manual_seed(0)
    return MamlModel(NETWORKS[kind](), Maml(inner_lr=0.1, inner_steps=2, **settings)).double()


@pytest.mark.parametrize("anil", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_where_the_queries_are_the_support_set_both_ways_have_the_same_meta_gradient(kind, anil):
    found = []
    for by in ("queries", "support"):
        maml = made(kind, query_statistics=by, anil=anil)
        loss, _ = maml.outer_loss(batch(same=True))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in maml.parameters())])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_answer_does_not_depend_on_what_else_is_asked(kind):
    tasks = batch()
    others = replace(tasks, query_x=torch.cat([tasks.query_x[:, :1], batch(seed=1).query_x[:, 1:]], 1))
    alone = replace(tasks, query_x=tasks.query_x[:, :1], query_y=tasks.query_y[:, :1])
    for by, is_same in (("support", True), ("queries", False)):
        engine, parameters = made(kind)._engine, dict(made(kind).model.named_parameters())
        each = {name: p.expand(2, *p.shape) for name, p in parameters.items()}
        first, second, third = (
            engine._outputs(each, asked, by == "support")[:, 0].detach() for asked in (tasks, others, alone)
        )
        assert torch.allclose(first, second) is is_same
        assert torch.allclose(first, third) is is_same


def test_the_moments_are_those_of_batch_norm_on_the_support_set():
    tasks, model = batch(), made("ann").model
    x = torch.cat([tasks.support_x[0], tasks.query_x[0]])
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Sequential):
                maps = layer[0](x)
                mean, variance = maps[:3].mean((0, 2, 3)), maps[:3].var((0, 2, 3), unbiased=False)
                x = nn.functional.batch_norm(maps, mean, variance, layer[1].weight, layer[1].bias, eps=layer[1].eps)
                x = layer[3](layer[2](x))
            else:
                x = layer(x)
    maml = made("ann")
    each = {name: p.detach().expand(2, *p.shape) for name, p in maml.model.named_parameters()}
    torch.testing.assert_close(maml._engine._outputs(each, tasks, True)[0], x[3:])


def test_another_network_is_refused_by_name():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1, track_running_stats=False)
            self.linear = nn.Linear(256, 3)

        def forward(self, x):
            return self.linear(self.norm(x).flatten(1))

    with pytest.raises(UserError, match="query_statistics='support' cannot reach batch norm norm, which is not in a"):
        MamlModel(Own(), Maml(query_statistics="support"))
    without = Own()
    without.norm = nn.Identity()
    losses = []
    for by in ("support", "queries"):
        loss, _ = MamlModel(without, Maml(query_statistics=by)).double().outer_loss(batch())
        losses.append(loss.item())
    assert losses[0] == losses[1]  # nothing to normalise


def test_the_protocol_says_so_where_something_is_normalised():
    assert statistics_of(made("ann", query_statistics="support")) == {"query_statistics": "support"}
    assert statistics_of(made("ann")) == {}
    assert statistics_of(MamlModel(mlp(), Maml(query_statistics="support"))) == {}


def test_memory_is_reckoned_for_both_sets_where_they_pass_together():
    assert samples_at_once(True, 5, 75) == 80
    assert samples_at_once(False, 5, 75) == 75


def test_the_reference_engine_is_refused():
    with pytest.raises(ValueError, match="query_statistics='support' needs engine='vmap', got 'learn2learn'"):
        Maml(query_statistics="support", engine="learn2learn")
