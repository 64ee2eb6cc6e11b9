"""PPO's learner."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from synrl_ray.algorithms.on_policy.fused_loss import fits, fused_loss
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.losses import Terms
from synrl_ray.algorithms.ppo.loss import ppo_loss
from synrl_ray.policies.actions.base import ActionDistribution


class PPOLearner(OnPolicyLearner):
    """The clipped surrogate objective."""

    def loss(
        self, config: Any, distribution: ActionDistribution, *, inputs: Tensor, actions: Tensor, **columns: Any
    ) -> Terms:
        """See :func:`synrl_ray.algorithms.ppo.loss.ppo_loss`."""
        settings: dict[str, Any] = {"clip_param": config.settings.clip_param, **config.coefficients}
        if fits(distribution, inputs):
            return fused_loss(logits=inputs, actions=actions, **columns, **settings)
        logp, entropy = distribution.logp_and_entropy(inputs, actions)
        return ppo_loss(logp=logp, entropy=entropy, **columns, **settings)
