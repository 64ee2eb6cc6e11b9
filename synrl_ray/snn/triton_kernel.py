"""The LIF scan in two Triton kernels, for a GPU: the whole time loop in registers, one launch for each direction.

Equations: :mod:`synrl_ray.snn.scan`. Step counts are arguments of the kernels, so that no new length compiles them
anew; what they are compiled for is the reset, the surrogate, and which of mask, gradients and learned parameters there
are. (``torch.compile`` of the reference unrolls its loop: it is compiled for each T, for half a minute at T = 128.)
With ``TRITON_INTERPRET=1`` they run on the CPU too, a block of cells at a time in numpy, which is how they are tested.

Legend: E input step, each held for K = ``hold`` simulation steps, T = E*K, B batch, N neurons, M = B*N cells.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False, disallow-untyped-decorators=False

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate

BLOCK = 128
"""Cells of a program: small, for a layer has some thousands and a GPU some hundred processors."""


_NUMBERS = ["num_inputs", "hold", "batch", "num_neurons"]
"""What Triton would compile a kernel anew for where it is 1, or a multiple of 16."""


def forward(
    current: Tensor, membrane: Tensor, beta: Tensor, threshold: Tensor, reset: str, mask: Tensor | None, hold: int
) -> tuple[Tensor, Tensor]:
    """Return membranes and spikes ``[E*hold, B, N]``."""
    num_inputs, batch, num_neurons = current.shape
    membranes = current.new_empty(num_inputs * hold, batch, num_neurons)
    spikes = torch.empty_like(membranes)
    with torch.cuda.device_of(current):
        _forward[grid(membrane)](
            current.contiguous(), membrane.contiguous(), beta.contiguous(), threshold.contiguous(),
            None if mask is None else mask.contiguous(), membranes, spikes,
            num_inputs, hold, batch, num_neurons, beta.dim(), threshold.dim(), reset, BLOCK,
        )  # fmt: skip
    return membranes, spikes


def backward(
    grad_spikes: Tensor | None,
    grad_membranes: Tensor | None,
    membranes: Tensor,
    membrane: Tensor,
    beta: Tensor,
    threshold: Tensor,
    reset: str,
    mask: Tensor | None,
    hold: int,
    surrogate: Surrogate,
    learned: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of current, membrane, beta and threshold (the last two if ``learned``)."""
    num_steps, batch, num_neurons = membranes.shape
    given = [None if t is None else t.contiguous() for t in (grad_spikes, grad_membranes, mask)]
    grad_current = membranes.new_empty(num_steps // hold, batch, num_neurons)
    grad_membrane = membranes.new_empty(batch, num_neurons)
    sums = membranes.new_empty(2, batch, num_neurons) if learned else None
    with torch.cuda.device_of(membranes):
        _backward[grid(membrane)](
            *given, membranes, membrane.contiguous(), beta.contiguous(), threshold.contiguous(), grad_current,
            grad_membrane, None if sums is None else sums[0], None if sums is None else sums[1],
            num_steps // hold, hold, batch, num_neurons, surrogate.k, beta.dim(), threshold.dim(), reset,
            surrogate.name, BLOCK,
        )  # fmt: skip
    if sums is None:
        return grad_current, grad_membrane, None, None
    of_beta, of_threshold = (
        total.sum() if like.dim() == 0 else total.sum(0) for total, like in zip(sums, (beta, threshold), strict=True)
    )
    return grad_current, grad_membrane, of_beta.reshape(beta.shape), of_threshold.reshape(threshold.shape)


def grid(membrane: Tensor) -> tuple[int]:
    """One program for each block of cells."""
    return (triton.cdiv(membrane.numel(), BLOCK),)


@triton.jit(do_not_specialize=_NUMBERS)
def _forward(
    current_EM, membrane_M, beta_N, threshold_N, mask_EB, membranes_TM, spikes_TM,
    num_inputs, hold, batch, num_neurons, BETAS: tl.constexpr, THRESHOLDS: tl.constexpr, RESET: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """``BETAS`` and ``THRESHOLDS`` are 1 where each neuron has its own, else 0."""
    num_cells, cell, inside = cells(batch, num_neurons, BLOCK)
    beta = tl.load(beta_N + (cell % num_neurons) * BETAS, mask=inside)
    theta = tl.load(threshold_N + (cell % num_neurons) * THRESHOLDS, mask=inside)
    u = tl.load(membrane_M + cell, mask=inside)
    at = cell
    for e in range(num_inputs):
        i_e = tl.load(current_EM + e * num_cells + cell, mask=inside)
        if mask_EB is not None:
            rests = tl.load(mask_EB + e * batch + cell // num_neurons, mask=inside)
            u = tl.where(rests, 0.0, u)
        for _ in range(hold):
            fired = u > theta
            if RESET == "zero":
                u = tl.where(fired, 0.0, u)
            u = u * beta + i_e
            if RESET == "subtract":
                u = tl.where(fired, u - theta, u)
            tl.store(membranes_TM + at, u, mask=inside)
            tl.store(spikes_TM + at, (u > theta).to(u.dtype), mask=inside)
            at += num_cells


@triton.jit(do_not_specialize=_NUMBERS)
def _backward(
    grad_spikes_TM, grad_membranes_TM, mask_EB, membranes_TM, membrane_M, beta_N, threshold_N,
    grad_current_EM, grad_membrane_M, grad_beta_M, grad_threshold_M,
    num_inputs, hold, batch, num_neurons, slope, BETAS: tl.constexpr, THRESHOLDS: tl.constexpr,
    RESET: tl.constexpr, SURROGATE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Backwards through time; gradients of the parameters are those of each cell."""
    num_cells, cell, inside = cells(batch, num_neurons, BLOCK)
    beta = tl.load(beta_N + (cell % num_neurons) * BETAS, mask=inside)
    theta = tl.load(threshold_N + (cell % num_neurons) * THRESHOLDS, mask=inside)
    at = cell + (num_inputs * hold - 1) * num_cells
    u = tl.load(membranes_TM + at, mask=inside)
    carried = tl.zeros_like(u)
    of_beta, of_theta = tl.zeros_like(u), tl.zeros_like(u)
    for back in range(num_inputs):
        e = num_inputs - 1 - back
        of_current = tl.zeros_like(u)
        for k in range(hold):
            g = carried
            if grad_membranes_TM is not None:
                g += tl.load(grad_membranes_TM + at, mask=inside)
            if grad_spikes_TM is not None:
                through = tl.load(grad_spikes_TM + at, mask=inside) * derivative(u - theta, slope, SURROGATE)
                g += through
                of_theta -= through
            of_current += g
            at -= num_cells
            u = tl.load(membranes_TM + at, mask=inside & (at >= 0), other=0.0)
            u += tl.load(membrane_M + cell, mask=inside & (at < 0), other=0.0)  # before the first step
            before = u
            carried = g * beta
            if mask_EB is not None:
                rests = tl.load(mask_EB + e * batch + cell // num_neurons, mask=inside) & (k == hold - 1)
                before = tl.where(rests, 0.0, before)
                carried = tl.where(rests, 0.0, carried)
            fired = before > theta
            if RESET == "zero":
                carried = tl.where(fired, 0.0, carried)
                before = tl.where(fired, 0.0, before)
            if RESET == "subtract":
                of_theta -= tl.where(fired, g, 0.0)
            of_beta += g * before
        tl.store(grad_current_EM + e * num_cells + cell, of_current, mask=inside)
    tl.store(grad_membrane_M + cell, carried, mask=inside)
    if grad_beta_M is not None:
        tl.store(grad_beta_M + cell, of_beta, mask=inside)
        tl.store(grad_threshold_M + cell, of_theta, mask=inside)


@triton.jit
def cells(batch, num_neurons, BLOCK: tl.constexpr):
    """How many there are, those of this program, and which of these there are."""
    num_cells = (batch * num_neurons).to(tl.int64)
    cell = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return num_cells, cell, cell < num_cells


@triton.jit
def derivative(x, slope, SURROGATE: tl.constexpr):
    """See :class:`synrl_ray.snn.surrogate.Surrogate`."""
    far = tl.abs(x)
    if SURROGATE == "fast_sigmoid":
        y = 1 + slope * far
        return 1 / (y * y)
    elif SURROGATE == "atan":
        y = 1.5707963267948966 * slope * x
        return slope / 2 / (1 + y * y)
    elif SURROGATE == "sigmoid":
        y = tl.exp(-slope * far)  # which, unlike that of x, does not overflow
        return slope * y / ((1 + y) * (1 + y))
    elif SURROGATE == "triangle":
        return tl.maximum(1 / slope - far, 0.0) * slope * slope
    elif SURROGATE == "box":
        return tl.where(far < 1 / slope, slope / 2, 0.0)
    else:
        return tl.zeros_like(x) + slope
