"""Action distributions on plain tensors: the values of RLlib's own, without their objects.

Legend: leading axes are any batch; A actions or action dimensions.
"""

from __future__ import annotations

import math

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)


def choose_actions(
    action_space: gym.Space, inputs: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw actions.

    Args:
        action_space: Discrete or Box.
        inputs: logits ``[..., A]``, or means and log standard deviations ``[..., 2A]``.
        generator: source of randomness.

    Returns:
        Actions ``[...]`` or ``[..., A]``, and their log-probabilities ``[...]``.
    """
    if isinstance(action_space, spaces.Discrete):
        log_probabilities = inputs.log_softmax(-1)
        # Gumbel-max: argmax(log p + Gumbel noise) is a draw from p, in one pass over the batch.
        noise = -torch.empty_like(inputs).exponential_(generator=generator).log()
        actions = (log_probabilities + noise).argmax(-1)
        return actions, log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    mean, log_std = inputs.chunk(2, dim=-1)
    noise = torch.empty_like(mean).normal_(generator=generator)
    return mean + log_std.exp() * noise, _normal_logp(noise, log_std)


def logp_and_entropy(action_space: gym.Space, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of given actions and the distribution's entropy (nats), both ``[...]``."""
    if isinstance(action_space, spaces.Discrete):
        log_probabilities = inputs.log_softmax(-1)
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
        return log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy
    mean, log_std = inputs.chunk(2, dim=-1)
    entropy = (log_std + 0.5 * (1 + _LOG_2PI)).sum(-1)
    return _normal_logp((actions - mean) / log_std.exp(), log_std), entropy


def _normal_logp(noise: Tensor, log_std: Tensor) -> Tensor:
    return (-0.5 * noise.square() - log_std - 0.5 * _LOG_2PI).sum(-1)
