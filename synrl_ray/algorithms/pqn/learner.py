"""PQN's learner.

Legend: M rows: steps, or steps of sequences flattened; A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.losses import Loss
from synrl_ray.policies.actions.base import ActionDistribution


@dataclass(frozen=True)
class QLoss(Loss):
    """A loss of action values."""

    error: Tensor
    mean: Tensor
    """Of the values of the actions that were taken."""

    @property
    def told(self) -> dict[str, Tensor]:
        """What RLlib tells of its DQN's."""
        return {"qf_loss": self.error, "qf_mean": self.mean}


class PQNLearner(OnPolicyLearner):
    """Brings the values of the actions that were taken to their lambda-returns."""

    def loss(
        self, config: Any, distribution: ActionDistribution, *, inputs: Tensor, actions: Tensor, **columns: Any
    ) -> QLoss:
        """See :func:`q_loss`."""
        return q_loss(inputs, actions, columns["value_targets"])

    def optimiser(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """The settings' one."""
        if self.config.settings.optimizer == "radam":
            return torch.optim.RAdam(parameters)
        return super().optimiser(parameters)


def q_loss(q_values: Tensor, actions: Tensor, targets: Tensor) -> QLoss:
    r"""The squared error of the values of what was done.

    .. math:: L = \tfrac{1}{2} \langle (Q(x, a) - G)^2 \rangle, \qquad
        G_t = r_t + \gamma (1 - d_t) \bigl((1 - \lambda) \max_{a'} Q(x_{t+1}, a') + \lambda G_{t+1}\bigr)

    The targets :math:`G` are by the weights that acted.

    Args:
        q_values: ``[M, A]``.
        actions, targets: ``[M]``.

    References:
        Gallici et al. (2024), "Simplifying deep temporal difference learning", arXiv:2407.04811, algorithm 1.
    """
    taken = q_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    error = 0.5 * (taken - targets).square().mean()
    return QLoss(error, error, taken.mean())
