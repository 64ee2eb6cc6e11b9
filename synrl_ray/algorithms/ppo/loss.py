"""PPO's loss as a function of tensors.

Legend: M rows: steps, or steps of sequences flattened.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.algorithms.on_policy.losses import Terms, combined


def ppo_loss(
    *,
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    value_targets: Tensor,
    entropy: Tensor,
    clip_param: float,
    value_coeff: float,
    entropy_coeff: float,
) -> Terms:
    r"""Clipped surrogate objective with value and entropy terms.

    .. math::
        L = -\langle \min(\rho A, \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A) \rangle
            + c_v \langle (V - \hat V)^2 \rangle - c_e \langle H \rangle,
        \qquad \rho = \exp(\log\pi - \log\pi_{old})

    Args:
        logp, old_logp, advantages, values, value_targets, entropy: ``[M]``.

    References:
        Schulman et al. (2017), arXiv:1707.06347, eqs. 7 and 9.
    """
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip_param, 1 + clip_param)
    policy = -torch.min(ratio * advantages, clipped * advantages).mean()
    return combined(policy, values, value_targets, entropy, value_coeff, entropy_coeff)
