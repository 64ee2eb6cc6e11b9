"""The fused loss against the equations of PPO and of the plain policy gradient, and autograd."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.algorithms.on_policy.fused_loss import fits, fused_loss
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.losses import policy_gradient_loss, ppo_loss
from synrl_ray.policies.actions.discrete import Categorical
from synrl_ray.policies.actions.table import action_distribution
from synrl_ray.settings.policies import AnnPolicy

COEFFICIENTS = {"value_coeff": 0.7, "entropy_coeff": 0.03}
SETTINGS = {"clip_param": 0.2, **COEFFICIENTS}


def chosen_of(num_actions):
    return Categorical(gym.spaces.Discrete(num_actions))


def batch(num_steps=300, num_actions=5, spread=1.0):
    generator = torch.Generator().manual_seed(num_steps)
    logits = torch.randn(num_steps, num_actions, generator=generator) * 3
    actions = torch.randint(num_actions, (num_steps,), generator=generator)
    logp, _ = chosen_of(num_actions).logp_and_entropy(logits, actions)
    columns = {
        "old_logp": logp + torch.randn(num_steps, generator=generator) * spread,  # ratios on both sides of the clip
        "advantages": torch.randn(num_steps, generator=generator),
        "values": torch.randn(num_steps, generator=generator),
        "value_targets": torch.randn(num_steps, generator=generator),
    }
    return logits.requires_grad_(), actions, columns


@pytest.mark.parametrize("shape", [(300,), (20, 15)])
@pytest.mark.parametrize("num_actions", [2, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_terms_and_gradients_are_those_of_the_equations(shape, num_actions, spread):
    logits, actions, columns = batch(num_actions=num_actions, spread=spread)
    columns["values"].requires_grad_()
    logp, entropy = chosen_of(num_actions).logp_and_entropy(logits.double(), actions)
    doubles = {name: column.double() for name, column in columns.items()}
    expected = ppo_loss(logp=logp, entropy=entropy, **doubles, **SETTINGS)
    expected_grads = torch.autograd.grad(expected.total, (logits, columns["values"]))

    shaped = {name: column.view(shape) for name, column in columns.items()}
    terms = fused_loss(logits=logits.view(*shape, num_actions), actions=actions.view(shape), **shaped, **SETTINGS)
    for name in ("total", "policy", "value", "entropy"):
        assert getattr(terms, name).item() == pytest.approx(getattr(expected, name).item(), abs=1e-6), name
    grads = torch.autograd.grad(2 * terms.total, (logits, columns["values"]))
    for grad, wanted in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, 2 * wanted, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("shape", [(300,), (20, 15)])
@pytest.mark.parametrize("num_actions", [2, 5])
def test_without_old_probabilities_it_is_the_plain_policy_gradient(shape, num_actions):
    logits, actions, columns = batch(num_actions=num_actions)
    del columns["old_logp"]
    columns["values"].requires_grad_()
    logp, entropy = chosen_of(num_actions).logp_and_entropy(logits.double(), actions)
    doubles = {name: column.double() for name, column in columns.items()}
    expected = policy_gradient_loss(logp=logp, entropy=entropy, **doubles, **COEFFICIENTS)
    expected_grads = torch.autograd.grad(expected.total, (logits, columns["values"]))

    shaped = {name: column.view(shape) for name, column in columns.items()}
    terms = fused_loss(logits=logits.view(*shape, num_actions), actions=actions.view(shape), **shaped, **COEFFICIENTS)
    for name in ("total", "policy", "value", "entropy"):
        assert getattr(terms, name).item() == pytest.approx(getattr(expected, name).item(), abs=1e-6), name
    grads = torch.autograd.grad(2 * terms.total, (logits, columns["values"]))
    for grad, wanted in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, 2 * wanted, atol=1e-7, rtol=1e-4)


def test_masked_actions_count_for_nothing_and_get_no_gradient():
    free, actions, columns = batch()
    allowed = torch.rand(300, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    allowed[torch.arange(300), actions] = True
    logits = torch.where(allowed, free, torch.finfo(torch.float32).min)
    columns["old_logp"] = chosen_of(5).logp_and_entropy(logits, actions)[0].detach()
    terms = fused_loss(logits=logits, actions=actions, **columns, **SETTINGS)
    (grad,) = torch.autograd.grad(terms.total, free, retain_graph=True)
    logp, entropy = chosen_of(5).logp_and_entropy(logits.double(), actions)
    doubles = {name: column.double() for name, column in columns.items()}
    expected = ppo_loss(logp=logp, entropy=entropy, **doubles, **SETTINGS)
    assert terms.entropy.item() == pytest.approx(expected.entropy.item(), abs=1e-6)
    assert terms.total.item() == pytest.approx(expected.total.item(), abs=1e-6)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.total, free)[0], atol=1e-7, rtol=1e-4)
    assert not grad[~allowed].any()


@pytest.mark.parametrize("is_plain", [False, True], ids=["clipped", "plain"])
@pytest.mark.parametrize("name", ["logits", "old_logp", "advantages", "values", "value_targets"])
def test_what_is_not_finite_makes_the_total_so(name, is_plain):
    logits, actions, columns = batch()
    tensors = {"logits": logits.detach(), **columns}
    tensors[name].view(-1)[7] = float("nan")
    if is_plain:
        del tensors["old_logp"]
    total = fused_loss(actions=actions, **tensors, **(COEFFICIENTS if is_plain else SETTINGS)).total
    assert bool(torch.isfinite(total)) == (is_plain and name == "old_logp")


def test_only_logits_in_single_precision_fit():
    discrete, box, multi = (
        action_distribution(space, AnnPolicy())
        for space in (gym.spaces.Discrete(3), gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.MultiDiscrete([3, 3]))
    )
    assert fits(discrete, torch.zeros(2, 3))
    assert not fits(box, torch.zeros(2, 6))
    assert not fits(multi, torch.zeros(2, 6))
    assert not fits(discrete, torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("clip_param", [0.2, None])
def test_learners_take_it_where_it_fits_and_nothing_else_changes(clip_param):
    logits, actions, columns = batch()
    config = SimpleNamespace(clip_param=clip_param, coefficients=COEFFICIENTS)
    distribution = chosen_of(5)
    fused = OnPolicyLearner.loss(None, config, distribution, inputs=logits, actions=actions, **columns)
    assert fused.total.grad_fn.name() == "_FusedLossBackward"
    doubles = {name: column.double() for name, column in columns.items()}
    plain = OnPolicyLearner.loss(None, config, distribution, inputs=logits.double(), actions=actions, **doubles)
    torch.testing.assert_close(fused.total.double(), plain.total, atol=1e-6, rtol=0)
    torch.testing.assert_close(*(torch.autograd.grad(terms.total, logits)[0] for terms in (fused, plain)))
