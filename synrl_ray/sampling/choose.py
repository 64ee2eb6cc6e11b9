"""Sample actions and their log-probabilities, as RLlib's distributions would, without their objects.

Legend: N environments, A actions or action dimensions.
"""

from __future__ import annotations

import math

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor


def choose_actions(
    action_space: gym.Space, inputs: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw actions.

    Args:
        action_space: Discrete or Box.
        inputs: logits ``[N, A]``, or means and log standard deviations ``[N, 2A]``.
        generator: source of randomness.

    Returns:
        Actions ``[N]`` or ``[N, A]``, and their log-probabilities ``[N]``.
    """
    if isinstance(action_space, spaces.Discrete):
        log_probabilities = inputs.log_softmax(-1)
        # Gumbel-max: argmax(log p + Gumbel noise) is a draw from p, in one pass over the batch.
        noise = -torch.empty_like(inputs).exponential_(generator=generator).log()
        actions = (log_probabilities + noise).argmax(-1)
        return actions, log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    mean, log_std = inputs.chunk(2, dim=-1)
    noise = torch.empty_like(mean).normal_(generator=generator)
    per_dimension = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    return mean + log_std.exp() * noise, per_dimension.sum(-1)
