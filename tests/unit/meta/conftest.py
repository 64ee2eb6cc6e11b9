"""Small models with tasks that suit them, in float64, and their meta-gradients."""

import pytest
import torch
from torch import nn

from synrl_ray.meta.losses import CrossEntropy
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.networks import conv4, mlp, spiking_conv4, spiking_mlp
from synrl_ray.meta.sinusoids import SinusoidDistribution
from synrl_ray.meta.tasks import TaskBatch
from synrl_ray.settings.maml import Maml
from synrl_ray.snn import Surrogate
from synrl_ray.snn.encoders import PopulationCode

KINDS = ("mlp", "conv4", "spiking_mlp", "population", "spiking_conv4")


def images(num_tasks=3, ways=3):
    g = torch.Generator().manual_seed(1)
    support, query = torch.rand(2, num_tasks, ways, 1, 18, 16, generator=g, dtype=torch.float64)
    labels = torch.arange(ways).expand(num_tasks, ways)
    return TaskBatch(support, labels, query, labels, CrossEntropy(), tuple(range(num_tasks)))


def build(kind):
    torch.manual_seed(0)
    if kind == "mlp":
        net: nn.Module = mlp(hidden_sizes=(8, 6))
    elif kind == "conv4":
        net = conv4((1, 18, 16), ways=3, channels=4)
    elif kind == "spiking_mlp":
        net = spiking_mlp(hidden_sizes=(8, 6), num_steps=4, surrogate=Surrogate("atan"))
    elif kind == "population":
        net = spiking_mlp(hidden_sizes=(8, 6), num_steps=4, code=PopulationCode(-5, 5, 7))
    else:
        net = spiking_conv4((1, 18, 16), ways=3, channels=(3, 3, 4, 5), num_steps=2)
    net = net.double()
    with torch.no_grad():
        for p in net.parameters():  # so that batch norm has gains of both signs and biases that count
            p.add_(0.1 * torch.randn_like(p))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight[::2] *= -1
    batch = images() if "conv" in kind else SinusoidDistribution(shots=4).sample("train", range(3)).to(torch.float64)
    return net, batch


@pytest.fixture(params=KINDS)
def model_and_batch(request):
    """Each kind of network with a batch of three tasks."""
    return build(request.param)


@pytest.fixture
def small():
    """The rectified network with three sinusoids."""
    return build("mlp")


@pytest.fixture
def meta_gradients():
    """A function that returns the meta-gradients of a model, inner rates last."""

    def compute(model, batch, iteration=0, prepare=None, **settings):
        maml = MamlModel(model, Maml(**{"inner_lr": 0.1, **settings}))
        if prepare:
            prepare(maml)
        maml.zero_grad()
        maml.outer_loss(batch, iteration)[0].backward()
        return [p.grad.clone() for p in maml.parameters()]

    return compute


@pytest.fixture
def assert_same():
    """A function that holds gradients to others, to 1e-5 of the largest."""

    def check(found, expected, tolerance=1e-5):
        largest = max(g.abs().max() for g in expected)
        assert largest > 0
        for a, b in zip(found, expected, strict=True):
            assert (a - b).abs().max() <= tolerance * largest

    return check
