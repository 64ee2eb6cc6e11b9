"""Firing rates: set them at the start, keep them in bounds during training.

A layer that never fires passes no signal on, one that always fires no information, and both learn slowly: the
surrogate's derivative is largest near the threshold. Default weights of ``torch.nn`` leave deep spiking
layers nearly silent.

Legend: T simulation steps, B batch, N neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from synrl_ray.snn.convolution import SpikingCNN
from synrl_ray.snn.networks import SpikingMLP


def rate_penalty(spikes: Sequence[Tensor], low: float = 0.01, high: float = 0.5) -> Tensor:
    r"""How far each neuron's firing rate lies outside ``[low, high]``, squared, averaged over neurons.

    .. math:: \Big\langle \max(0, low - r_n)^2 + \max(0, r_n - high)^2 \Big\rangle_n

    Add it, scaled, to a loss; gradients pass through the spikes' surrogate.

    Args:
        spikes: ``[T, B, N]`` of every layer, from ``forward_with_spikes``.
        low, high: bounds of the rate, in spikes per simulation step.

    Raises:
        ValueError: if the bounds are not ordered within [0, 1] or there are no spikes.

    Example:
        >>> rate_penalty([torch.ones(4, 1, 1)], high=0.5).item()
        0.25
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"rates must satisfy 0 <= low <= high <= 1, got {low} and {high}")
    if not spikes:
        raise ValueError("spikes of at least one layer are needed")
    rates = torch.cat([layer.mean(dim=(0, 1)) for layer in spikes])
    return ((low - rates).clamp_min(0).square() + (rates - high).clamp_min(0).square()).mean()


@torch.no_grad()
def calibrate_rates(
    net: SpikingMLP | SpikingCNN, inputs: Tensor, target: float = 0.1, num_halvings: int = 14
) -> tuple[float, ...]:
    """Scale each layer's weights and biases in place until it fires at the target rate on these inputs.

    Layer by layer from the input, by bisection of the logarithm of the scale between 1/32 and 32.

    Args:
        net: the network, usually just built.
        inputs: observations as they will come, ``[E, B, ...]``.
        target: spikes per neuron and simulation step, in (0, 1).
        num_halvings: steps of the bisection.

    Returns:
        The rates of all spiking layers afterwards. A layer that cannot reach the target ends as close as it gets.

    Raises:
        ValueError: if the target lies outside (0, 1) or the inputs are not finite.
    """
    if not 0 < target < 1:
        raise ValueError(f"the target rate must lie in (0, 1), got {target}")
    if not bool(torch.isfinite(inputs).all()):
        raise ValueError("input must be finite")
    layers = net.linears if isinstance(net, SpikingMLP) else chain(net.convolutions, [net.linear])
    for index, layer in enumerate(layers):
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        parameters = list(layer.parameters())
        originals = [p.clone() for p in parameters]
        low, high = -5.0, 5.0  # powers of two
        for _ in range(num_halvings):
            middle = (low + high) / 2
            for p, original in zip(parameters, originals, strict=True):
                p.copy_(original * 2.0**middle)
            if net.forward_with_spikes(inputs)[2][index].mean() < target:
                low = middle
            else:
                high = middle
    return tuple(layer.mean().item() for layer in net.forward_with_spikes(inputs)[2])
