"""From plain settings to the arguments of spiking networks, and what networks compute at once."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from synrl_ray.settings.policies import SpikingLayers
from synrl_ray.snn import CNN, MLP, SpikingCNN, SpikingMLP, Surrogate

_MOST_NUMBERS = 2**25
"""That are computed for one observation: 128 MiB."""
_NUMBERS_AT_ONCE = 2**26
"""That are computed for several ones together, where they may be divided."""


def layer_options(config: SpikingLayers) -> dict[str, Any]:
    """Keyword arguments that :class:`~synrl_ray.snn.SpikingMLP` and :class:`~synrl_ray.snn.SpikingCNN` share."""
    return {
        "steps_per_observation": config.steps_per_observation,
        "beta": config.beta,
        "threshold": config.threshold,
        "surrogate": Surrogate(config.surrogate, config.surrogate_slope),
        "reset": config.reset,
        "learn_beta": config.learn_beta,
        "learn_threshold": config.learn_threshold,
        "readout_beta": config.readout_beta,
    }


def numbers_per_observation(body: nn.Module) -> int:
    """How many numbers a network computes for one observation: those of all layers, in all simulation steps."""
    if isinstance(body, SpikingMLP | SpikingCNN):
        return body.steps_per_observation * sum(body.state_sizes)
    if isinstance(body, CNN):
        maps = sum(channels * height * width for channels, height, width in body.map_shapes)
        return maps + body.linear.out_features + body.readout.out_features
    if isinstance(body, MLP):
        return body.in_features + sum(cast("nn.Linear", linear).out_features for linear in body.linears)
    raise TypeError(f"{type(body).__name__} is no network of a policy")


def rows_at_once(num_numbers: int, most: int) -> int:
    """How many observations to compute together, at most, where each takes so many numbers."""
    return max(1, min(most, _NUMBERS_AT_ONCE // max(1, num_numbers)))


def require_bounded(num_numbers: int) -> None:
    """Refuse a network that computes too much for one observation, which its weights need not show.

    Raises:
        ValueError: for such a number of numbers.
    """
    if num_numbers > _MOST_NUMBERS:
        raise ValueError(f"each observation takes {num_numbers:,} numbers, {_MOST_NUMBERS:,} are the most")
