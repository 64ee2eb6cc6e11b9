"""The plain policy gradient, the clipped surrogate, and what all losses from rollouts have in common, as functions of
tensors.

Legend: M rows: steps, or steps of sequences flattened; D distribution inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Loss(ABC):
    """A loss, and what is told of it; all scalars."""

    total: Tensor

    @property
    @abstractmethod
    def told(self) -> dict[str, Tensor]:
        """What learners log, under RLlib's names."""


@dataclass(frozen=True)
class Terms(Loss):
    """An actor-critic's loss and what it is made of."""

    policy: Tensor
    value: Tensor
    entropy: Tensor

    @property
    def told(self) -> dict[str, Tensor]:
        """The parts."""
        return {"policy_loss": self.policy, "vf_loss": self.value, "entropy": self.entropy}


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


def combined(
    policy: Tensor, values: Tensor, targets: Tensor, entropy: Tensor, value_coeff: float, entropy_coeff: float
) -> Terms:
    """The policy's loss with the terms of value and entropy, whose columns are ``[M]``."""
    value = (values - targets).square().mean()
    mean_entropy = entropy.mean()
    return Terms(policy + value_coeff * value - entropy_coeff * mean_entropy, policy, value, mean_entropy)
