"""Losses on discrete actions as one autograd node, for the CPU: of small networks their many operations take a tenth
of a minibatch's time. :func:`synrl_ray.algorithms.on_policy.losses.ppo_loss` and
:func:`synrl_ray.algorithms.on_policy.losses.policy_gradient_loss` stay the reference, and the path of all else.

Legend: M steps, A actions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.algorithms.on_policy.losses import Terms
from synrl_ray.policies.actions.base import ActionDistribution
from synrl_ray.policies.actions.discrete import Categorical


def fits(distribution: ActionDistribution, inputs: Tensor) -> bool:
    """Whether the compiled pass can take these distribution inputs: logits of float32 on the CPU."""
    return isinstance(distribution, Categorical) and inputs.is_cpu and inputs.dtype is torch.float32


def fused_loss(
    *,
    logits: Tensor,
    actions: Tensor,
    advantages: Tensor,
    values: Tensor,
    value_targets: Tensor,
    value_coeff: float,
    entropy_coeff: float,
    old_logp: Tensor | None = None,
    clip_param: float = math.inf,
) -> Terms:
    """The terms of PPO's loss, or without ``old_logp`` of the plain policy gradient; only ``total`` has a gradient.

    Args:
        logits: ``[..., A]``.
        actions, advantages, values, value_targets, old_logp: ``[...]``, as many.
        value_coeff, entropy_coeff, clip_param: as in the losses named above.
    """
    columns = [
        None if column is None else column.reshape(-1)
        for column in (values, actions, old_logp, advantages, value_targets)
    ]
    settings = (float(clip_param), float(value_coeff), float(entropy_coeff))
    total, policy, value, entropy = _FusedLoss.apply(logits.reshape(-1, logits.shape[-1]), *columns, settings)
    return Terms(total, policy, value, entropy)


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, values: Tensor, actions: Tensor, old_logp: Tensor | None, advantages: Tensor,
        value_targets: Tensor, settings: tuple[float, float, float],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        from synrl_ray.algorithms.on_policy.loss_kernel import loss  # numba takes half a second to import

        grad_logits, grad_values = torch.empty_like(logits), torch.empty_like(values)
        columns = (logits, values, actions, old_logp, advantages, value_targets)
        arrays = [None if column is None else column.detach().contiguous().numpy() for column in columns]
        policy, value, entropy = loss(*arrays, *settings, grad_logits.numpy(), grad_values.numpy())
        _, value_coeff, entropy_coeff = settings
        ctx.save_for_backward(grad_logits, grad_values)
        terms = torch.tensor([policy + value_coeff * value - entropy_coeff * entropy, policy, value, entropy])
        total, *parts = terms.unbind()
        ctx.mark_non_differentiable(*parts)
        return total, *parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, *unused: Any) -> Any:
        grad_logits, grad_values = ctx.saved_tensors
        return grad_logits * grad_total, grad_values * grad_total, None, None, None, None, None
