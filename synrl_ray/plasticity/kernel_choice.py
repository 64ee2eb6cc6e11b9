"""Which kernel computes a scan: the compiled one on the CPU, plain torch elsewhere."""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor

from synrl_ray.plasticity import torch_kernel

Kernel = Literal["auto", "torch", "numba"]


class PlasticityKernel(Protocol):
    """What a kernel offers. Legend: T simulation steps, B batch, N neurons."""

    def trace_scan(self, spikes: Tensor, trace: Tensor, decay: float, nearest: bool, mask: Tensor | None) -> Tensor:
        """Traces ``[T, B, N]`` after each step's spikes."""

    def discounted_sums(self, values: Tensor, decay: float, mask: Tensor | None) -> Tensor:
        """``[T, B]``: each step's value plus the decayed later ones up to the next masked step."""


def choose_kernel(kernel: Kernel, like: Tensor) -> PlasticityKernel:
    """The kernel for tensors such as ``like``.

    Raises:
        ValueError: if the numba kernel is asked for what it cannot take.
    """
    on_cpu = like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64)
    if kernel == "torch" or (kernel == "auto" and not on_cpu):
        return torch_kernel
    if not on_cpu:
        raise ValueError(f"the numba kernel takes float32 or float64 on CPU, got {like.dtype} on {like.device}")
    from synrl_ray.plasticity import numba_kernel  # numba takes half a second to import

    return numba_kernel


def decay_factor(tau: float, dt: float) -> float:
    r"""What is left of a trace after one simulation step: :math:`e^{-dt/\tau}`.

    Args:
        tau: time constant in ms.
        dt: simulation step in ms.

    Raises:
        ValueError: if one of them is not positive and finite.

    Example:
        >>> round(decay_factor(tau=20.0, dt=1.0), 6)
        0.951229
    """
    for name, value in (("tau", tau), ("dt", dt)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be > 0 ms and finite, got {value}")
    return math.exp(-dt / tau)
