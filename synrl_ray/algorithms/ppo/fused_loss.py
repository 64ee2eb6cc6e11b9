"""PPO's loss on discrete actions as one autograd node, for the CPU: of small networks its many operations take a tenth
of a minibatch's time. :func:`synrl_ray.algorithms.ppo.loss.ppo_loss` stays the reference, and the path of all else.

Legend: M steps, A actions.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.algorithms.on_policy.losses import Terms


def fits(action_space: gym.Space, inputs: Tensor) -> bool:
    """Whether the compiled pass can take these distribution inputs: logits of float32 on the CPU."""
    return isinstance(action_space, spaces.Discrete) and inputs.is_cpu and inputs.dtype is torch.float32


def fused_ppo_loss(
    *,
    logits: Tensor,
    actions: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    value_targets: Tensor,
    clip_param: float,
    value_coeff: float,
    entropy_coeff: float,
) -> Terms:
    """The terms of :func:`synrl_ray.algorithms.ppo.loss.ppo_loss`; only ``total`` has a gradient.

    Args:
        logits: ``[..., A]``.
        actions, old_logp, advantages, values, value_targets: ``[...]``, as many.
        clip_param, value_coeff, entropy_coeff: as there.
    """
    columns = [column.reshape(-1) for column in (values, actions, old_logp, advantages, value_targets)]
    settings = (float(clip_param), float(value_coeff), float(entropy_coeff))
    total, policy, value, entropy = _FusedPPO.apply(logits.reshape(-1, logits.shape[-1]), *columns, settings)
    return Terms(total, policy, value, entropy)


class _FusedPPO(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, values: Tensor, actions: Tensor, old_logp: Tensor, advantages: Tensor,
        value_targets: Tensor, settings: tuple[float, float, float],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        from synrl_ray.algorithms.ppo.kernel import ppo  # numba takes half a second to import

        grad_logits, grad_values = torch.empty_like(logits), torch.empty_like(values)
        columns = (logits, values, actions, old_logp, advantages, value_targets)
        arrays = [column.detach().contiguous().numpy() for column in columns]
        policy, value, entropy = ppo(*arrays, *settings, grad_logits.numpy(), grad_values.numpy())
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
