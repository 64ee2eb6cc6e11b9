"""From plain settings to the arguments of spiking networks, and what networks compute at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast, get_args

from torch import nn

from synrl_ray.errors import UserError
from synrl_ray.policies.own_network import OwnNetwork
from synrl_ray.settings.policies import Neuron, SpikingLayers
from synrl_ray.snn import CNN, MLP, AdaptiveLIF, SpikingCNN, SpikingMLP, Surrogate, Synaptic
from synrl_ray.snn.snntorch_layer import SnnTorchLayer, SnnTorchName

_MOST_NUMBERS = 2**25
"""That are computed for one observation: 128 MiB."""
_NUMBERS_AT_ONCE = 2**26
"""That are computed for several ones together, where they may be divided."""


def _synaptic(config: SpikingLayers, surrogate: Surrogate) -> nn.Module:
    return Synaptic(
        config.alpha,
        config.beta,
        config.threshold,
        learn_alpha=config.learn_alpha,
        learn_beta=config.learn_beta,
        learn_threshold=config.learn_threshold,
        surrogate=surrogate,
        reset=config.reset,
    )


def _adaptive(config: SpikingLayers, surrogate: Surrogate) -> nn.Module:
    learned = {"beta": config.learn_beta, "threshold": config.learn_threshold}
    learned |= dict.fromkeys(("rho", "kappa"), config.learn_adaptation)
    names = tuple(name for name, is_learned in learned.items() if is_learned)
    return AdaptiveLIF(config.beta, config.threshold, config.rho, config.kappa, learned=names, surrogate=surrogate)


def _snntorch(config: SpikingLayers, surrogate: Surrogate) -> nn.Module:
    name = config.neuron.removeprefix("snntorch.")
    of_currents = ("alpha", "learn_alpha") if name in ("Synaptic", "Alpha") else ()
    given = ("beta", "threshold", "learn_beta", "learn_threshold", *of_currents)
    settings = {setting: getattr(config, setting) for setting in given}
    return SnnTorchLayer(cast("SnnTorchName", name), surrogate, reset_mechanism=config.reset, **settings)


NEURONS: dict[str, Callable[[SpikingLayers, Surrogate], nn.Module]] = {
    "synaptic": _synaptic,
    "adaptive": _adaptive,
    **{name: _snntorch for name in get_args(Neuron) if name.startswith("snntorch.")},
}
"""What makes a layer of a neuron that settings name. Its ``states_per_neuron`` says how large its state is. The LIF
layer is the networks' own, which they run fused."""


def layer_options(config: SpikingLayers) -> dict[str, Any]:
    """Keyword arguments that :class:`~synrl_ray.snn.SpikingMLP` and :class:`~synrl_ray.snn.SpikingCNN` share."""
    surrogate = Surrogate(config.surrogate, config.surrogate_slope)
    return {
        "steps_per_observation": config.steps_per_observation,
        "beta": config.beta,
        "threshold": config.threshold,
        "surrogate": surrogate,
        "reset": config.reset,
        "learn_beta": config.learn_beta,
        "learn_threshold": config.learn_threshold,
        "readout_beta": config.readout_beta,
        "neuron": None if config.neuron == "lif" else partial(NEURONS[config.neuron], config, surrogate),
        "readout": config.readout,
        "readout_neurons": config.readout_neurons,
        "recurrent": config.recurrent,
        "norm": config.norm,
        "dropout": config.dropout,
    }


def numbers_per_observation(body: nn.Module) -> int:
    """How many numbers a network computes for one observation: those of all layers, in all simulation steps."""
    if isinstance(body, SpikingMLP | SpikingCNN):
        received = body.in_features if isinstance(body, SpikingMLP) and body.encoder is not None else 0
        return body.steps_per_observation * (sum(body.state_sizes) + received)
    if isinstance(body, OwnNetwork):
        received = math.prod(body.shape)
        return received + body.steps_per_observation * (body.state_size + body.num_outputs)
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
        UserError: for such a number of numbers.
    """
    if num_numbers > _MOST_NUMBERS:
        problem = f"each observation takes {num_numbers:,} numbers, {_MOST_NUMBERS:,} are the most"
        raise UserError(problem, "take fewer neurons or maps, or fewer simulation steps")
