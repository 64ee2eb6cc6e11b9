"""The plain policy gradient, and what all losses from rollouts have in common, as functions of tensors.

Legend: M rows: steps, or steps of sequences flattened; D distribution inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """A loss and what it is made of; all scalars."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor


def policy_gradient_loss(
    *,
    logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    value_targets: Tensor,
    entropy: Tensor,
    value_coeff: float,
    entropy_coeff: float,
) -> Terms:
    r"""Score-function loss of A2C and REINFORCE.

    .. math:: L = -\langle \log\pi\, A \rangle + c_v \langle (V - \hat V)^2 \rangle - c_e \langle H \rangle

    Args:
        logp, advantages, values, value_targets, entropy: ``[M]``.

    References:
        Williams (1992), doi:10.1007/BF00992696; Mnih et al. (2016), arXiv:1602.01783.
    """
    policy = -(logp * advantages).mean()
    return combined(policy, values, value_targets, entropy, value_coeff, entropy_coeff)


def combined(
    policy: Tensor, values: Tensor, targets: Tensor, entropy: Tensor, value_coeff: float, entropy_coeff: float
) -> Terms:
    """The policy's loss with the terms of value and entropy, whose columns are ``[M]``."""
    value = (values - targets).square().mean()
    mean_entropy = entropy.mean()
    return Terms(policy + value_coeff * value - entropy_coeff * mean_entropy, policy, value, mean_entropy)
