import math

import pytest
import torch

from synrl_ray.algorithms.on_policy.losses import policy_gradient_loss, ppo_loss


def ppo(logp, advantages, *, old_logp=None, clip_param=0.2, **others):
    columns = {name: others.get(name, torch.zeros_like(logp)) for name in ("values", "value_targets", "entropy")}
    return ppo_loss(
        logp=logp,
        old_logp=torch.zeros_like(logp) if old_logp is None else old_logp,
        advantages=advantages,
        **columns,
        clip_param=clip_param,
        value_coeff=others.get("value_coeff", 0.0),
        entropy_coeff=others.get("entropy_coeff", 0.0),
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "gradient"),
    [
        (1.5, 2.0, 2.4, 0.0),  # clipped: enough of a good action
        (1.5, -2.0, -3.0, -3.0),  # not clipped: too much of a bad action is always taken back
        (0.5, -2.0, -1.6, 0.0),  # clipped: little enough of a bad action
        (0.5, 2.0, 1.0, 1.0),  # not clipped: too little of a good action
        (1.1, 2.0, 2.2, 2.2),
        (0.9, -2.0, -1.8, -1.8),
    ],
)
def test_clipping_stops_only_what_goes_further_in_the_good_direction(ratio, advantage, objective, gradient):
    logp = torch.tensor([math.log(ratio)], requires_grad=True)
    terms = ppo(logp, torch.tensor([advantage]))
    assert terms.total.item() == pytest.approx(-objective)
    terms.total.backward()
    assert logp.grad.item() == pytest.approx(-gradient)


def test_old_log_probability_is_the_reference_and_rows_are_averaged():
    # Ratios 1.5 (clipped to 1.2) and 2 / 3 (lower than 0.8, advantage positive: not clipped).
    logp, old_logp = torch.tensor([3.0, 2.0]).log(), torch.tensor([2.0, 3.0]).log()
    terms = ppo(logp, torch.tensor([1.0, 3.0]), old_logp=old_logp)
    assert terms.policy.item() == pytest.approx(-(1.2 + 2.0) / 2)


def test_terms_by_hand():
    logp = torch.zeros(2)
    terms = ppo(
        logp,
        torch.tensor([1.0, 3.0]),
        values=torch.tensor([1.0, 2.0]),
        value_targets=torch.tensor([3.0, 1.0]),
        entropy=torch.tensor([0.5, 0.7]),
        value_coeff=0.5,
        entropy_coeff=0.1,
    )
    assert terms.policy.item() == pytest.approx(-2.0)
    assert terms.value.item() == pytest.approx((4 + 1) / 2)
    assert terms.entropy.item() == pytest.approx(0.6)
    assert terms.total.item() == pytest.approx(-2.0 + 0.5 * 2.5 - 0.1 * 0.6)


def test_policy_gradient_by_hand():
    logp = torch.tensor([-1.0, -2.0], requires_grad=True)
    values = torch.tensor([1.0, 0.0], requires_grad=True)
    terms = policy_gradient_loss(
        logp=logp,
        advantages=torch.tensor([2.0, -1.0]),
        values=values,
        value_targets=torch.tensor([0.0, 2.0]),
        entropy=torch.tensor([0.2, 0.4]),
        value_coeff=0.5,
        entropy_coeff=1.0,
    )
    assert terms.policy.item() == pytest.approx(-(-2.0 + 2.0) / 2)
    assert terms.value.item() == pytest.approx((1 + 4) / 2)
    assert terms.total.item() == pytest.approx(0.0 + 0.5 * 2.5 - 0.3)
    terms.total.backward()
    assert logp.grad.tolist() == pytest.approx(
        [-1.0, 0.5]
    )  # down the gradient: more of the good action, less of the bad
    assert values.grad.tolist() == pytest.approx([0.5, -1.0])  # towards the targets


def test_at_the_old_policy_ppo_has_the_gradient_of_the_policy_gradient():
    torch.manual_seed(0)
    start, advantages = torch.randn(20), torch.randn(20)
    gradients = []
    for clipped in (True, False):
        logp = start.clone().requires_grad_()
        if clipped:
            loss = ppo(logp, advantages, old_logp=start).total
        else:
            zeros = torch.zeros(20)
            loss = policy_gradient_loss(
                logp=logp,
                advantages=advantages,
                values=zeros,
                value_targets=zeros,
                entropy=zeros,
                value_coeff=0.0,
                entropy_coeff=0.0,
            ).total
        loss.backward()
        gradients.append(logp.grad)
    torch.testing.assert_close(*gradients)


def test_more_entropy_is_a_smaller_loss():
    entropy = torch.tensor([0.5, 0.7], requires_grad=True)
    ppo(torch.zeros(2), torch.zeros(2), entropy=entropy, entropy_coeff=0.3).total.backward()
    assert entropy.grad.tolist() == pytest.approx([-0.15, -0.15])


@pytest.mark.parametrize("seed", range(5))
def test_ppo_equals_rllibs_formula(seed):
    generator = torch.Generator().manual_seed(seed)
    logp, old_logp, advantages, values, targets, entropy = torch.randn(6, 64, generator=generator).unbind()
    clip, value_coeff, entropy_coeff = 0.3, 0.7, 0.05
    # RLlib's PPO learner without its KL and value clipping: the mean over rows of
    # -surrogate + vf_loss_coeff * vf_loss - entropy_coeff * entropy.
    ratio = torch.exp(logp - old_logp)
    surrogate = torch.minimum(advantages * ratio, advantages * torch.clamp(ratio, 1 - clip, 1 + clip))
    total = torch.mean(-surrogate + value_coeff * torch.pow(values - targets, 2.0) - entropy_coeff * entropy)
    terms = ppo(
        logp,
        advantages,
        old_logp=old_logp,
        clip_param=clip,
        values=values,
        value_targets=targets,
        entropy=entropy,
        value_coeff=value_coeff,
        entropy_coeff=entropy_coeff,
    )
    torch.testing.assert_close(terms.total, total)
    torch.testing.assert_close(terms.policy, -surrogate.mean())
