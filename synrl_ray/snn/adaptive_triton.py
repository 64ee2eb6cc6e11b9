"""The adaptive scan in two Triton kernels, for a GPU. Equations: :mod:`synrl_ray.snn.adaptive_scan`; how they are
compiled and tested: :mod:`synrl_ray.snn.triton_kernel`.

Legend: T simulation steps, B batch, N neurons, M = B*N cells; ``parameters_4N`` are beta, threshold, rho, kappa.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate
from synrl_ray.snn.triton_kernel import BLOCK, cells, derivative, grid

_NUMBERS = ["num_steps", "batch", "num_neurons"]


def forward(
    current: Tensor, membrane: Tensor, adaptation: Tensor, parameters: Any, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, membranes and adaptations ``[T, B, N]``."""
    spikes, membranes, adaptations = (current.new_empty(current.shape) for _ in range(3))
    with torch.cuda.device_of(current):
        _forward[grid(membrane)](
            current.contiguous(), membrane.contiguous(), adaptation.contiguous(), _rows(parameters, membrane),
            None if mask is None else mask.contiguous(), spikes, membranes, adaptations, *current.shape, BLOCK,
        )  # fmt: skip
    return spikes, membranes, adaptations


def backward(
    saved: Any, grad_spikes: Tensor, grad_membranes: Tensor, grad_adaptations: Tensor, surrogate: Surrogate
) -> tuple[Tensor, ...]:
    """Return the gradients of current, membrane, adaptation, beta, threshold, rho and kappa."""
    _, membranes, adaptations, membrane, adaptation, mask, *parameters = saved
    given = [None if t is None else t.contiguous() for t in (grad_spikes, grad_membranes, grad_adaptations, mask)]
    grad_current, grad_u, grad_a = (torch.empty_like(t) for t in (membranes, membrane, adaptation))
    sums = membranes.new_empty(4, *membrane.shape)
    with torch.cuda.device_of(membranes):
        _backward[grid(membrane)](
            *given, membranes, adaptations, membrane.contiguous(), adaptation.contiguous(),
            _rows(parameters, membrane), grad_current, grad_u, grad_a, sums, *membranes.shape, surrogate.k,
            surrogate.name, BLOCK,
        )  # fmt: skip
    shaped = (total.sum() if like.dim() == 0 else total.sum(0) for total, like in zip(sums, parameters, strict=True))
    return grad_current, grad_u, grad_a, *shaped


def _rows(parameters: Any, membrane: Tensor) -> Tensor:
    return torch.stack([p.detach().expand(membrane.shape[1]) for p in parameters])


@triton.jit(do_not_specialize=_NUMBERS)
def _forward(
    current_TM, membrane_M, adaptation_M, parameters_4N, mask_TB, spikes_TM, membranes_TM, adaptations_TM,
    num_steps, batch, num_neurons, BLOCK: tl.constexpr,
):  # fmt: skip
    num_cells, cell, inside = cells(batch, num_neurons, BLOCK)
    beta, theta, rho, kappa = _read(parameters_4N + cell % num_neurons, num_neurons, inside)
    u = tl.load(membrane_M + cell, mask=inside)
    a = tl.load(adaptation_M + cell, mask=inside)
    fired = u > theta + kappa * a
    at = cell
    for t in range(num_steps):
        if mask_TB is not None:
            rests = tl.load(mask_TB + t * batch + cell // num_neurons, mask=inside)
            u, a, fired = tl.where(rests, 0.0, u), tl.where(rests, 0.0, a), fired & (rests == 0)
        a = rho * a + fired.to(a.dtype)
        u = beta * u + tl.load(current_TM + at, mask=inside)
        u = tl.where(fired, u - theta, u)
        fired = u > theta + kappa * a
        tl.store(spikes_TM + at, fired.to(u.dtype), mask=inside)
        tl.store(membranes_TM + at, u, mask=inside)
        tl.store(adaptations_TM + at, a, mask=inside)
        at += num_cells


@triton.jit(do_not_specialize=_NUMBERS)
def _backward(
    grad_spikes_TM, grad_membranes_TM, grad_adaptations_TM, mask_TB, membranes_TM, adaptations_TM,
    membrane_M, adaptation_M, parameters_4N, grad_current_TM, grad_membrane_M, grad_adaptation_M, sums_4M,
    num_steps, batch, num_neurons, slope, SURROGATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """``sums_4M`` are the gradients of the parameters, of each cell."""
    num_cells, cell, inside = cells(batch, num_neurons, BLOCK)
    beta, theta, rho, kappa = _read(parameters_4N + cell % num_neurons, num_neurons, inside)
    at = cell + (num_steps - 1) * num_cells
    u, a = tl.load(membranes_TM + at, mask=inside), tl.load(adaptations_TM + at, mask=inside)
    grad_u, grad_a, grad_s = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    of_beta, of_theta, of_rho, of_kappa = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    for back in range(num_steps):
        arriving = tl.load(grad_spikes_TM + at, mask=inside) + grad_s
        x = arriving * derivative(u - (theta + kappa * a), slope, SURROGATE)
        grad_u += tl.load(grad_membranes_TM + at, mask=inside) + x
        grad_a += tl.load(grad_adaptations_TM + at, mask=inside) - kappa * x
        of_theta -= x
        of_kappa -= x * a
        tl.store(grad_current_TM + at, grad_u, mask=inside)
        if mask_TB is not None:
            t = num_steps - 1 - back
            rests = tl.load(mask_TB + t * batch + cell // num_neurons, mask=inside)
            grad_u, grad_a = tl.where(rests, 0.0, grad_u), tl.where(rests, 0.0, grad_a)
        at -= num_cells
        later, first = inside & (at >= 0), inside & (at < 0)
        u = tl.load(membranes_TM + at, mask=later, other=0.0) + tl.load(membrane_M + cell, mask=first, other=0.0)
        a = tl.load(adaptations_TM + at, mask=later, other=0.0) + tl.load(adaptation_M + cell, mask=first, other=0.0)
        of_beta += grad_u * u
        of_theta -= tl.where(u > theta + kappa * a, grad_u, 0.0)
        of_rho += grad_a * a
        grad_s = grad_a
        grad_u *= beta
        grad_a *= rho
    # the state before the first step acts through its spike as well
    x = grad_s * derivative(u - (theta + kappa * a), slope, SURROGATE)
    tl.store(grad_membrane_M + cell, grad_u + x, mask=inside)
    tl.store(grad_adaptation_M + cell, grad_a - kappa * x, mask=inside)
    tl.store(sums_4M + cell, of_beta, mask=inside)
    tl.store(sums_4M + num_cells + cell, of_theta - x, mask=inside)
    tl.store(sums_4M + 2 * num_cells + cell, of_rho, mask=inside)
    tl.store(sums_4M + 3 * num_cells + cell, of_kappa - x * a, mask=inside)


@triton.jit
def _read(own, num_neurons, inside):
    """Beta, threshold, rho and kappa of each cell."""
    return (
        tl.load(own, mask=inside),
        tl.load(own + num_neurons, mask=inside),
        tl.load(own + 2 * num_neurons, mask=inside),
        tl.load(own + 3 * num_neurons, mask=inside),
    )
