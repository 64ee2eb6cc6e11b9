"""Losses of policies that are tables of logits, by advantages that are summed over states and actions.

Legend: M tasks, S states, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.meta.losses import TaskLoss


class PolicyGradientLoss(TaskLoss):
    r""":math:`-\sum_{s, a} C(s, a) \log\pi(a | s)`; outputs are logits ``[M, S, A]``, targets C ``[M, S, A]``.

    References:
        Williams (1992), doi:10.1007/BF00992696.
    """

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`~synrl_ray.meta.losses.TaskLoss`, but a sum: the mean over steps is in C."""
        return -(targets * outputs.log_softmax(-1)).sum((1, 2))

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """As in :class:`~synrl_ray.meta.losses.TaskLoss`, without a graph of the loss."""
        return outputs.softmax(-1) * targets.sum(-1, keepdim=True) - targets


def clipped_surrogate(log_probs: Tensor, old_log_probs: Tensor, gains: Tensor, losses: Tensor, clip: float) -> Tensor:
    r"""PPO's loss of each task ``[M]``.

    With the ratio :math:`\rho = \pi / \pi_{old}`, a gain is not increased beyond :math:`\rho = 1 + \epsilon`, nor a
    loss decreased beyond :math:`1 - \epsilon`:

    .. math:: -\sum_{s, a} C^+ \min(\rho, 1 + \epsilon) + C^- \max(\rho, 1 - \epsilon)

    Args:
        log_probs: ``[M, S, A]`` of the policy.
        old_log_probs: ``[M, S, A]`` of the one that played.
        gains, losses: ``[M, S, A]``, sums of its positive and of its negative advantages.
        clip: ε.

    References:
        Schulman, Wolski, Dhariwal, Radford & Klimov (2017), arXiv:1707.06347, eq. 7.
    """
    ratio = (log_probs - old_log_probs).exp()
    return -(gains * ratio.clamp(max=1 + clip) + losses * ratio.clamp(min=1 - clip)).sum((1, 2))


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in each state, in nats: ``[M, S, A]`` → ``[M, S]``."""
    return -torch.sum(log_probs.exp() * log_probs, dim=-1)
