"""Initial weights that let each spiking layer fire at a wanted rate, found layer by layer on given inputs.

Firing rates are spikes in each neuron and simulation step, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from synrl_ray.snn.convolution import SpikingCNN
from synrl_ray.snn.networks import SpikingMLP

_SMALLEST, _LARGEST = 2.0**-10, 2.0**10
_HALVINGS = 20
_WITHIN_REACH = 0.9
"""Share of the highest rate to which a layer is brought that no scale lets fire as often as wanted."""


@torch.no_grad()
def scale_to_rate(
    net: SpikingMLP | SpikingCNN, inputs: Tensor, reset_mask: Tensor | None, rate: float
) -> tuple[float, ...]:
    """Scale weights and biases of every spiking layer so that it fires at a rate, the first layer first.

    A layer's currents are multiplied by one factor, found by halving an interval on what the layers before it, already
    scaled, give for these inputs. Where currents are normalised it goes to the normalisation's gain and shift, since a
    scale of the weights would be taken away again. Recurrent weights and the readout stay as they are.

    Args:
        net: is changed.
        inputs, reset_mask: as of its forward pass, from rest.
        rate: wanted, between 0 and 1.

    Returns:
        Each layer's factor. Where no factor in [1/1024, 1024] gives the rate, nine tenths of the highest one are
        aimed at.

    References:
        The idea of one pass on data that fixes the scale of each layer is that of Mishkin & Matas (2016), "All you need
        is a good init", arXiv:1511.06422, there for the variance of activations.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net, inputs = SpikingMLP(4, (50, 50), 2), torch.randn(1, 100, 4)
        >>> factors = scale_to_rate(net, inputs, None, 0.2)
        >>> [round(layer.mean().item(), 2) for layer in net.forward_with_spikes(inputs)[2]]
        [0.2, 0.2]
    """
    factors: list[float] = []

    def scaled(neuron: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        current, *others = given
        factor = _factor(lambda scale: neuron.forward(current * scale, *others)[0].mean().item(), rate)
        factors.append(factor)
        return current * factor, *others

    handles = [neuron.register_forward_pre_hook(scaled) for neuron in net.neurons]
    try:
        net.forward_with_spikes(inputs, None, reset_mask)
    finally:
        for handle in handles:
            handle.remove()
    for layer, factor in zip(net.norms or net.weights, factors, strict=True):
        cast("nn.Linear", layer).weight.mul_(factor)
        cast("nn.Linear", layer).bias.mul_(factor)
    return tuple(factors)


def _factor(rate_of: Callable[[float], float], wanted: float) -> float:
    """The smallest factor found that gives at least the rate; rates grow with it."""
    low, high = _SMALLEST, _LARGEST
    wanted = min(wanted, _WITHIN_REACH * rate_of(high))
    if not wanted:  # no factor wakes it
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        if rate_of(middle) < wanted:
            low = middle
        else:
            high = middle
    return high
