"""Weight bounds, and the one place where a change is added to weights."""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.errors import NonFiniteError
from synrl_ray.settings.plasticity import WeightBounds


def clamp_weights(weights: Tensor, bounds: WeightBounds) -> Tensor:
    """Weights brought into their bounds."""
    return weights.clamp(bounds.w_min, bounds.w_max)


def apply_delta(weights: Tensor, delta: Tensor, bounds: WeightBounds) -> Tensor:
    """``weights + delta``, brought into the bounds; nothing is changed in place.

    Rules return deltas and leave weights alone, because the deltas of several workers are merged first. Weights are
    ``[I, O]``: hand in ``linear.weight.t()`` for a ``torch.nn.Linear``.

    Args:
        weights, delta: of the same shape.
        bounds: ``w_min`` and ``w_max``.

    Shape:
        weights ``[I, O]``, delta ``[I, O]`` → ``[I, O]``.

    Raises:
        ValueError: if the shapes differ.
        NonFiniteError: if the delta is not finite.

    Example:
        >>> import torch
        >>> apply_delta(torch.tensor([[0.5, 0.9]]), torch.tensor([[0.25, 0.25]]), WeightBounds()).tolist()
        [[0.75, 1.0]]
    """
    if weights.shape != delta.shape:
        raise ValueError(f"weights {tuple(weights.shape)} and delta {tuple(delta.shape)} differ in shape")
    if not bool(torch.isfinite(delta).all()):
        raise NonFiniteError("delta", "plastic weights", "look at the modulator, or choose smaller amplitudes")
    return clamp_weights(weights + delta, bounds)
