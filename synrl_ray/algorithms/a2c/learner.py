"""A2C's learner."""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.algorithms.a2c.rmsprop import RMSpropTF
from synrl_ray.algorithms.on_policy.learner import PolicyGradientLearner


class A2CLearner(PolicyGradientLearner):
    """The plain policy gradient, with the optimiser of the published settings."""

    def optimiser(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """RMSprop; RLlib sets its learning rate."""
        settings = self.config.settings
        return RMSpropTF(parameters, alpha=settings.rmsprop_alpha, eps=settings.rmsprop_eps)
