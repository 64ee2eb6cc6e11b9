"""PPO's learner."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from torch import Tensor

from synrl_ray.algorithms.on_policy.fused_loss import fits, fused_loss
from synrl_ray.algorithms.on_policy.learner import OnPolicyLearner
from synrl_ray.algorithms.on_policy.losses import Terms
from synrl_ray.algorithms.ppo.loss import ppo_loss
from synrl_ray.sampling.distributions import logp_and_entropy


class PPOLearner(OnPolicyLearner):
    """The clipped surrogate objective."""

    def loss(self, config: Any, action_space: gym.Space, *, inputs: Tensor, actions: Tensor, **columns: Any) -> Terms:
        """See :func:`synrl_ray.algorithms.ppo.loss.ppo_loss`."""
        settings: dict[str, Any] = {"clip_param": config.settings.clip_param, **config.coefficients}
        if fits(action_space, inputs):
            return fused_loss(logits=inputs, actions=actions, **columns, **settings)
        logp, entropy = logp_and_entropy(action_space, inputs, actions)
        return ppo_loss(logp=logp, entropy=entropy, **columns, **settings)
