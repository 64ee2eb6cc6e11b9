"""From plain settings to the arguments of spiking networks."""

from __future__ import annotations

from typing import Any

from synrl_ray.policies.config import SpikingLayers
from synrl_ray.snn import Surrogate


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
