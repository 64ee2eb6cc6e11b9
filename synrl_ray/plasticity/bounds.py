"""Weight bounds and Dale's law, and the one place where a change is added to weights."""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.errors import NonFiniteError
from synrl_ray.settings.plasticity import WeightBounds


def weight_limits(bounds: WeightBounds, weights: Tensor, signs: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Lower and upper limit of each presynaptic neuron's weights.

    Args:
        bounds: ``w_min`` and ``w_max``.
        weights: what they are for; gives size, dtype and device.
        signs: Dale's law: positive for a neuron that excites all its targets, negative for one that inhibits them.
            The bound on the wrong side of zero then becomes zero.

    Shape:
        weights ``[I, O]``, signs ``[I]`` → two of ``[I]``.

    Raises:
        ValueError: if signs do not fit, or if the bounds leave nothing on a neuron's side of zero.
    """
    low = torch.full(weights.shape[:1], bounds.w_min, dtype=weights.dtype, device=weights.device)
    high = torch.full_like(low, bounds.w_max)
    if signs is None:
        return low, high
    if signs.shape != low.shape or bool((signs == 0).any()):
        raise ValueError(f"signs must be [I] = ({low.shape[0]},) without zeros, got {tuple(signs.shape)}")
    excites = (signs > 0).to(weights.device)
    low, high = torch.where(excites, low.clamp_min(0), low), torch.where(excites, high, high.clamp_max(0))
    if bool((low > high).any()):
        raise ValueError(
            f"weight bounds [{bounds.w_min}, {bounds.w_max}] leave an excitatory or inhibitory neuron no weight"
        )
    return low, high


def clamp_weights(weights: Tensor, bounds: WeightBounds, signs: Tensor | None = None) -> Tensor:
    """Weights ``[I, O]`` brought into their bounds; arguments and errors as in :func:`weight_limits`."""
    low, high = weight_limits(bounds, weights, signs)
    return torch.clamp(weights, low.unsqueeze(-1), high.unsqueeze(-1))


def apply_delta(weights: Tensor, delta: Tensor, bounds: WeightBounds, signs: Tensor | None = None) -> Tensor:
    """``weights + delta``, brought into the bounds; nothing is changed in place.

    Rules return deltas and leave weights alone, because the deltas of several workers are merged first. Weights are
    ``[I, O]``: hand in ``linear.weight.t()`` for a ``torch.nn.Linear``.

    Args:
        weights, delta: of the same shape.
        bounds, signs: as in :func:`weight_limits`.

    Shape:
        weights ``[I, O]``, delta ``[I, O]``, signs ``[I]`` → ``[I, O]``.

    Raises:
        ValueError: if the shapes differ, or as in :func:`weight_limits`.
        NonFiniteError: if the delta is not finite.

    Example:
        >>> apply_delta(torch.tensor([[0.5, 0.9]]), torch.tensor([[0.25, 0.25]]), WeightBounds()).tolist()
        [[0.75, 1.0]]
    """
    if weights.shape != delta.shape:
        raise ValueError(f"weights {tuple(weights.shape)} and delta {tuple(delta.shape)} differ in shape")
    if not bool(torch.isfinite(delta).all()):
        raise NonFiniteError("delta", "plastic weights", "look at the modulator, or choose smaller amplitudes")
    return clamp_weights(weights + delta, bounds, signs)
