"""Surrogate gradients: what stands in for the derivative of the Heaviside spike.

The forward pass emits ``Theta(x)`` with ``x = membrane - threshold``; the backward pass uses the
derivative of a smooth *primitive* instead (Neftci, Mostafa & Zenke 2019, doi:10.1109/MSP.2019.2931595).
Names, formulas and default slopes are those of ``snntorch.surrogate``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

SurrogateName = Literal["fast_sigmoid", "atan", "sigmoid", "straight_through"]


@dataclass(frozen=True)
class _Shape:
    default_slope: float
    primitive: Callable[[Tensor, float], Tensor]
    derivative: Callable[[Tensor, float], Tensor]
    curvature: Callable[[Tensor, float], Tensor]


def _sigmoid_derivative(x: Tensor, slope: float) -> Tensor:
    y = torch.sigmoid(slope * x)
    return slope * y * (1 - y)


def _sigmoid_curvature(x: Tensor, slope: float) -> Tensor:
    y = torch.sigmoid(slope * x)
    return slope**2 * y * (1 - y) * (1 - 2 * y)


def _atan_curvature(x: Tensor, slope: float) -> Tensor:
    ratio = math.pi / 2 * slope
    return (-slope * ratio**2) * x * ((ratio * x).square_().add_(1)).square_().reciprocal_()


_SHAPES: dict[str, _Shape] = {
    "fast_sigmoid": _Shape(
        25.0,
        lambda x, k: x / (1 + k * x.abs()),
        lambda x, k: (x.abs().mul_(k).add_(1)).square_().reciprocal_(),
        lambda x, k: -2 * k * x.sign() * (x.abs().mul_(k).add_(1)).pow_(-3),
    ),
    "atan": _Shape(
        2.0,
        lambda x, k: torch.atan(math.pi / 2 * k * x) / math.pi + 0.5,
        lambda x, k: (k / 2) * ((math.pi / 2 * k * x).square_().add_(1)).reciprocal_(),
        _atan_curvature,
    ),
    "sigmoid": _Shape(25.0, lambda x, k: torch.sigmoid(k * x), _sigmoid_derivative, _sigmoid_curvature),
    "straight_through": _Shape(
        1.0, lambda x, k: k * x, lambda x, k: torch.full_like(x, k), lambda x, k: torch.zeros_like(x)
    ),
}


@dataclass(frozen=True)
class Surrogate:
    r"""A named surrogate with its slope.

    With ``x = membrane - threshold`` and slope ``k`` the derivatives are

    ================  ======================================  =============
    name              derivative                              default ``k``
    ================  ======================================  =============
    fast_sigmoid      ``1 / (1 + k|x|)^2``                    25
    atan              ``k/2 / (1 + (pi k x / 2)^2)``          2
    sigmoid           ``k s(kx) (1 - s(kx))``                 25
    straight_through  ``k``                                   1
    ================  ======================================  =============

    Args:
        name: one of the names above.
        slope: sharpness ``k`` (dimensionless, positive); ``None`` takes the default.

    Raises:
        ValueError: for an unknown name or a slope that is not positive.

    Example:
        >>> Surrogate("fast_sigmoid", slope=1.0).derivative(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.2500])
    """

    name: SurrogateName = "fast_sigmoid"
    slope: float | None = None

    def __post_init__(self) -> None:
        if self.name not in _SHAPES:
            names = ", ".join(get_args(SurrogateName))
            raise ValueError(f"unknown surrogate {self.name!r}: choose one of {names}")
        if self.slope is not None and not self.slope > 0:
            raise ValueError(f"surrogate slope must be positive, got {self.slope}")

    @property
    def k(self) -> float:
        """The slope in use."""
        return _SHAPES[self.name].default_slope if self.slope is None else self.slope

    def derivative(self, x: Tensor) -> Tensor:
        """Surrogate derivative at ``x``, elementwise, same shape."""
        return _SHAPES[self.name].derivative(x, self.k)

    def curvature(self, x: Tensor) -> Tensor:
        """Derivative of :meth:`derivative`, which gradients of gradients need; same shape."""
        return _SHAPES[self.name].curvature(x, self.k)

    def primitive(self, x: Tensor) -> Tensor:
        """The smooth function whose derivative this is, up to a constant."""
        return _SHAPES[self.name].primitive(x, self.k)
