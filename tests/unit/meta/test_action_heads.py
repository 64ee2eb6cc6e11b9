"""Distributions of actions and their losses: against autograd, by hand, and by their frequencies."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.meta.action_heads import (
    CategoricalHead,
    DecisionLoss,
    GaussianHead,
    MeanAndDeviation,
    clipped_decisions,
    head_of,
)
from synrl_ray.meta.losses import TaskLoss
from synrl_ray.meta.vmapped import VmappedNetwork
from synrl_ray.meta.written_out.network import WrittenOutNetwork

M, K = 2, 5
BOX = spaces.Box(np.array([-0.1, 2.0], np.float32), np.array([0.1, 6.0], np.float32))
HEADS = {"categorical": CategoricalHead(3), "gaussian": GaussianHead(BOX)}


def case(kind):
    """Outputs and targets in float64."""
    g, head = torch.Generator().manual_seed(0), HEADS[kind]
    outputs = torch.randn(M, K, 3 if kind == "categorical" else 4, generator=g, dtype=torch.float64)
    actions = head.draw(outputs, torch.rand(M, K, head.size, generator=g, dtype=torch.float64))
    weights = torch.randn(M, K, 1, generator=g, dtype=torch.float64)
    return head, outputs, torch.cat([actions, weights], -1)


@pytest.mark.parametrize("kind", HEADS)
def test_the_gradient_is_autograds_and_can_be_differentiated_again(kind):
    head, outputs, targets = case(kind)
    loss, outputs = DecisionLoss(head), outputs.requires_grad_()
    found, expected = loss.gradient(outputs, targets), TaskLoss.gradient(loss, outputs, targets)
    torch.testing.assert_close(found, expected)
    again = [torch.autograd.grad(g.square().sum(), outputs, retain_graph=True)[0] for g in (found, expected)]
    torch.testing.assert_close(*again)


def test_log_probabilities_and_entropy_of_a_gaussian_by_hand():
    outputs = torch.tensor([[[1.0, 0.0, math.log(2.0), 0.0]]])
    found = HEADS["gaussian"].log_prob(outputs, torch.tensor([[[3.0, 0.5]]]))
    expected = -0.5 - math.log(2.0) - 0.125 - math.log(2 * math.pi)
    assert found.item() == pytest.approx(expected)
    assert HEADS["gaussian"].entropy(outputs).item() == pytest.approx(math.log(2.0) + math.log(2 * math.pi * math.e))


def test_drawn_actions_have_their_distribution():
    uniforms = torch.arange(1000, dtype=torch.float64).add(0.5).div(1000).reshape(1, 1000, 1)
    logits = torch.tensor([0.2, 0.3, 0.5]).log().expand(1, 1000, 3)
    drawn = HEADS["categorical"].draw(logits, uniforms)
    assert [int((drawn == i).sum()) for i in range(3)] == [200, 300, 500]
    outputs = torch.tensor([1.0, 5.0, math.log(2.0), 0.0]).expand(1, 1000, 4)
    drawn = HEADS["gaussian"].draw(outputs, uniforms.expand(1, 1000, 2))
    assert drawn.mean(1).flatten().tolist() == pytest.approx([1.0, 5.0], abs=1e-3)
    assert drawn.std(1).flatten().tolist() == pytest.approx([2.0, 1.0], rel=0.01)
    assert torch.isfinite(HEADS["gaussian"].draw(outputs[:, :1], torch.zeros(1, 1, 2, dtype=torch.float64))).all()


def test_actions_in_the_environments_units():
    found = HEADS["gaussian"].for_environment(np.array([[0.5, -0.5], [9.0, 0.0]], np.float32))
    np.testing.assert_allclose(
        found, [[0.05, 3.0], [0.1, 4.0]], rtol=1e-6
    )  # half of a range to each side of its middle
    assert found.dtype == np.float32
    assert CategoricalHead(3, start=-1).for_environment(np.array([[0.0], [2.0]])).tolist() == [-1, 1]


def test_ppos_loss_by_hand():
    old, weights = torch.zeros(1, 4), torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    ratio = torch.tensor([[1.5, 0.5, 1.5, 0.5]])
    assert clipped_decisions(ratio.log(), old, weights, 0.2).item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8))


def test_a_decision_of_no_weight_counts_for_nothing_however_likely_it_has_become():
    log_prob = torch.tensor([[500.0, 0.0]], requires_grad=True)
    loss = clipped_decisions(log_prob, torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), 0.2)
    loss.sum().backward()
    assert (loss.item(), log_prob.grad.tolist()) == (-1.0, [[0.0, -1.0]])


def test_the_layer_of_means_and_deviations_is_written_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), MeanAndDeviation(6, 2, 0.5)).double()
    assert model(torch.zeros(4, 3).double())[:, 2:].tolist() == [[pytest.approx(math.log(0.5))] * 2] * 4
    written_out, names = WrittenOutNetwork.of(model), [name for name, _ in model.named_parameters()]
    parameters = {name: torch.stack([p, p + 0.1]).detach().requires_grad_() for name, p in model.named_parameters()}
    x, (head, _, targets) = torch.randn(M, K, 3, dtype=torch.float64), case("gaussian")
    loss, again = DecisionLoss(head), []
    gradients = [
        network.gradients(parameters, names, x, targets, loss, True)[1]
        for network in (written_out, VmappedNetwork(model))
    ]
    for found in gradients:
        total = sum(g.square().sum() for g in found.values())
        again.append(torch.autograd.grad(total, list(parameters.values()), retain_graph=True))
    for name in names:
        torch.testing.assert_close(gradients[0][name], gradients[1][name])
    for a, b in zip(*again, strict=True):
        torch.testing.assert_close(a, b)


def test_actions_that_no_head_draws_are_refused():
    with pytest.raises(UserError, match="actions of A-v0 are MultiBinary"):
        head_of(spaces.MultiBinary(3), "A-v0")
    assert head_of(spaces.Discrete(4), "A-v0").num_outputs == 4
