"""A policy's action distribution as RLlib asks for it, where RLlib has none of its own with the same values."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from torch import Tensor

from synrl_ray.policies.actions.base import ActionDistribution
from synrl_ray.policies.actions.continuous import Gaussian
from synrl_ray.policies.actions.discrete import Categorical, MultiCategorical

_OF_RLLIB = (Categorical, MultiCategorical, Gaussian)


def rllib_distribution(distribution: ActionDistribution, found: type[Distribution] | None) -> type[Distribution] | None:
    """The class that RLlib makes distributions of.

    Args:
        distribution: of the policy.
        found: what RLlib's catalog has chosen for the action space, if it has chosen.

    Returns:
        What RLlib has itself, where its values are the same; else one around ours.
    """
    if type(distribution) in _OF_RLLIB and (found is not None or not isinstance(distribution, MultiCategorical)):
        return found
    return type(type(distribution).__name__, (_Adapter,), {"distribution": distribution})


class _Adapter(Distribution):
    """RLlib's interface around one of :mod:`synrl_ray.policies.actions`."""

    distribution: ClassVar[ActionDistribution]

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.inputs = inputs

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> _Adapter:
        """From distribution inputs ``[..., D]``, which RLlib calls logits."""
        return cls(logits)

    def sample(self, **kwargs: Any) -> Tensor:
        """Drawn actions."""
        return self.distribution.sample(self.inputs)[0].detach()

    def rsample(self, **kwargs: Any) -> Tensor:
        """Not there: no algorithm that trains an actor-critic asks for gradients through its actions."""
        raise NotImplementedError

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Log-probabilities of actions."""
        return self.distribution.logp_and_entropy(self.inputs, value)[0]

    def entropy(self, **kwargs: Any) -> Tensor:
        """In nats."""
        return self.distribution.logp_and_entropy(self.inputs, self.distribution.deterministic(self.inputs))[1]

    def kl(self, other: _Adapter, **kwargs: Any) -> Tensor:
        """In nats."""
        return self.distribution.kl(self.inputs, other.inputs)

    @staticmethod
    def required_input_dim(space: gym.Space, **kwargs: Any) -> int:
        """Asked of distributions that RLlib's catalog builds networks for, which this is not."""
        raise NotImplementedError

    def to_deterministic(self) -> TorchDeterministic:
        """The action that the policy takes greedily."""
        return TorchDeterministic(loc=self.distribution.deterministic(self.inputs))
