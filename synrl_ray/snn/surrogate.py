"""Surrogate gradients: what stands in for the derivative of the Heaviside spike.

The forward pass emits ``Theta(x)`` with ``x = membrane - threshold``; the backward pass uses the
derivative of a smooth *primitive* instead (Neftci, Mostafa & Zenke 2019, doi:10.1109/MSP.2019.2931595).
Names, formulas and default slopes are those of ``snntorch.surrogate``, but for the two with compact support:
snnTorch's ``triangular`` is a constant whose sign changes at the threshold, another function than ``triangle``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

SurrogateName = Literal["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]


@dataclass(frozen=True)
class _Shape:
    default_slope: float
    primitive: Callable[[Tensor, float], Tensor]
    derivative: Callable[[Tensor, float], Tensor]
    curvature: Callable[[Tensor, float], Tensor]
    is_compact: bool = False


def _sigmoid_derivative(x: Tensor, slope: float) -> Tensor:
    y = torch.sigmoid(slope * x)
    return slope * y * (1 - y)


def _sigmoid_curvature(x: Tensor, slope: float) -> Tensor:
    y = torch.sigmoid(slope * x)
    return slope**2 * y * (1 - y) * (1 - 2 * y)


def _atan_curvature(x: Tensor, slope: float) -> Tensor:
    ratio = math.pi / 2 * slope
    return (-slope * ratio**2) * x * ((ratio * x).square_().add_(1)).square_().reciprocal_()


def _clipped(x: Tensor, k: float) -> Tensor:
    """``x``, beyond the support its end, where autograd too finds a derivative of exactly zero."""
    return torch.where(x.abs() < 1 / k, x, x.clamp(-1 / k, 1 / k).detach())


def _triangle_primitive(x: Tensor, slope: float) -> Tensor:
    y = slope * _clipped(x, slope)
    return 0.5 + y * (1 - y.abs() / 2)


# All kernels compare |x| with 1/k, never k|x| with 1, which rounding could make another support.
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
    "triangle": _Shape(
        1.0,
        _triangle_primitive,
        lambda x, k: (1 / k - x.abs()).clamp_(min=0).mul_(k * k),
        lambda x, k: x.sign().mul_(x.abs() < 1 / k).mul_(-k * k),
        is_compact=True,
    ),
    "box": _Shape(
        2.0,
        lambda x, k: 0.5 + k / 2 * _clipped(x, k),
        lambda x, k: (x.abs() < 1 / k).to(x.dtype).mul_(k / 2),
        lambda x, k: torch.zeros_like(x),
        is_compact=True,
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
    triangle          ``k max(0, 1 - k|x|)``                  1
    box               ``k/2`` where ``|x| < 1/k``, else 0     2
    ================  ======================================  =============

    Triangle and box have compact support, ``|x| < 1/k``, and an area of 1. No gradient passes through a spike outside
    of it, so that a backward pass can leave those out and stay exact (Perez-Nieves & Goodman 2021, arXiv:2105.08810);
    and a neuron that never comes near its threshold does not learn by its spikes. With default slopes the triangle is
    that of Esser et al. (2016), doi:10.1073/pnas.1604850113, which Bellec et al. (2018), arXiv:1803.09574, multiply by
    0.3, and the box that of Wu et al. (2018), doi:10.3389/fnins.2018.00331, of width 1; both are 1 at the threshold.

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

    @property
    def support(self) -> float | None:
        """Half-width ``1/k`` of the support, in the unit of the membrane; ``None`` for wide surrogates.

        Where ``|x| >= support`` the derivative is exactly zero, which an event-driven backward pass may rely on.
        A wide surrogate has no such width, however small its tails: none of them is cut off.

        Example:
            >>> Surrogate("box").support, Surrogate("atan").support
            (0.5, None)
        """
        return 1 / self.k if _SHAPES[self.name].is_compact else None

    def derivative(self, x: Tensor) -> Tensor:
        """Surrogate derivative at ``x``, elementwise, same shape."""
        return _SHAPES[self.name].derivative(x, self.k)

    def curvature(self, x: Tensor) -> Tensor:
        """Derivative of :meth:`derivative`, which gradients of gradients need; same shape."""
        return _SHAPES[self.name].curvature(x, self.k)

    def primitive(self, x: Tensor) -> Tensor:
        """The smooth function whose derivative this is, up to a constant."""
        return _SHAPES[self.name].primitive(x, self.k)
