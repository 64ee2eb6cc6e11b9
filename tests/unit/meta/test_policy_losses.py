"""Losses of policies against autograd and against their formula, one entry at a time."""

import math

import pytest
import torch

from synrl_ray.meta.losses import TaskLoss
from synrl_ray.meta.policy_losses import PolicyGradientLoss, clipped_surrogate, entropy

M, S, A = 2, 5, 4


def random(seed):
    return torch.randn(M, S, A, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_is_autograds_and_can_be_differentiated_again():
    logits, targets, direction = random(0).requires_grad_(), random(1), random(2)
    found = PolicyGradientLoss().gradient(logits, targets)
    expected = TaskLoss.gradient(PolicyGradientLoss(), logits, targets)
    torch.testing.assert_close(found, expected)
    again = [torch.autograd.grad((g * direction).sum(), logits, retain_graph=True)[0] for g in (found, expected)]
    torch.testing.assert_close(*again)


def test_ppos_loss_is_its_formula():
    log_probs, old = random(0).log_softmax(-1), random(1).log_softmax(-1)
    gains, losses = random(2).clamp(min=0), random(3).clamp(max=0)
    found = clipped_surrogate(log_probs, old, gains, losses, clip=0.2)
    for m in range(M):
        expected = 0.0
        for s in range(S):
            for a in range(A):
                ratio = math.exp(log_probs[m, s, a] - old[m, s, a])
                clipped = min(max(ratio, 0.8), 1.2)
                for advantage in (gains[m, s, a].item(), losses[m, s, a].item()):
                    expected -= min(ratio * advantage, clipped * advantage)
        assert found[m].item() == pytest.approx(expected)


def test_ppos_first_gradient_is_that_of_the_policy_gradient():
    logits, gains, losses = random(0).requires_grad_(), random(1).clamp(min=0), random(2).clamp(max=0)
    log_probs = logits.log_softmax(-1)
    ppo = clipped_surrogate(log_probs, log_probs.detach(), gains, losses, clip=0.2)
    plain = PolicyGradientLoss()(logits, gains + losses)
    grads = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (ppo, plain)]
    torch.testing.assert_close(*grads)


def test_entropy_of_even_and_certain_policies():
    even, certain = torch.zeros(1, 1, 4), torch.tensor([[[100.0, 0, 0, 0]]])
    assert entropy(even.log_softmax(-1)).item() == pytest.approx(math.log(4))
    assert entropy(certain.log_softmax(-1)).item() == pytest.approx(0, abs=1e-6)
