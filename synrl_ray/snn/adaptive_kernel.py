"""The adaptive scan compiled for the CPU. Equations: :mod:`synrl_ray.snn.adaptive_scan`.

Legend: T simulation steps, B batch, N neurons, M = B*N cells; ``parameters`` is ``[4, M]``: beta,
threshold, rho, kappa.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from synrl_ray.compiled import jit
from synrl_ray.snn.cell_kernels import SURROGATE_CODES, add_through_spike
from synrl_ray.snn.numba_kernel import mask_array, to_parameter
from synrl_ray.snn.surrogate import Surrogate


@jit
def _rest(mask, t, values):
    num_neurons = values.size // mask.shape[1]
    for b in range(mask.shape[1]):
        if mask[t, b]:
            values[b * num_neurons : (b + 1) * num_neurons] = 0


@jit
def _forward(current, u, a, parameters, mask, spikes, membranes, adaptations):
    """``u`` and ``a`` are overwritten."""
    beta, theta, rho, kappa = parameters[0], parameters[1], parameters[2], parameters[3]
    one, zero = u.dtype.type(1), u.dtype.type(0)
    s = np.empty_like(u)
    for j in range(u.size):
        s[j] = one if u[j] > theta[j] + kappa[j] * a[j] else zero
    for t in range(current.shape[0]):
        if mask.size > 0:
            _rest(mask, t, u)
            _rest(mask, t, a)
            _rest(mask, t, s)
        i_t, s_t, u_t, a_t = current[t], spikes[t], membranes[t], adaptations[t]
        for j in range(u.size):
            a[j] = rho[j] * a[j] + s[j]
            u[j] = beta[j] * u[j] + i_t[j] - s[j] * theta[j]
        for j in range(u.size):
            s[j] = one if u[j] > theta[j] + kappa[j] * a[j] else zero
        u_t[:] = u
        a_t[:] = a
        s_t[:] = s


@jit
def _backward(
    grad_spikes, grad_membranes, grad_adaptations, spikes, membranes, adaptations, membrane, adaptation, parameters,
    mask, kind, slope, grad_current, grad_u, grad_a, sums,
):  # fmt: skip
    """Fill ``grad_current`` and the gradients of the state; ``sums [4, M]`` are those of the parameters."""
    beta, theta, rho, kappa = parameters[0], parameters[1], parameters[2], parameters[3]
    one, zero = beta.dtype.type(1), beta.dtype.type(0)
    grad_s, arriving, x, level = np.zeros_like(beta), np.empty_like(beta), np.empty_like(beta), np.empty_like(beta)
    started = np.empty_like(beta)
    for j in range(beta.size):
        started[j] = one if membrane[j] > theta[j] + kappa[j] * adaptation[j] else zero
    for t in range(membranes.shape[0] - 1, -1, -1):
        a_t = adaptations[t]
        for j in range(beta.size):
            arriving[j] = grad_spikes[t, j] + grad_s[j]
            level[j] = theta[j] + kappa[j] * a_t[j]
        x[:] = 0
        add_through_spike(arriving, one, membranes[t], level, kind, slope, x)
        for j in range(beta.size):
            grad_u[j] += grad_membranes[t, j] + x[j]
            grad_a[j] += grad_adaptations[t, j] - kappa[j] * x[j]
            sums[1, j] -= x[j]
            sums[3, j] -= x[j] * a_t[j]
        grad_current[t] = grad_u
        if mask.size > 0:
            _rest(mask, t, grad_u)
            _rest(mask, t, grad_a)
        u = membranes[t - 1] if t > 0 else membrane
        a = adaptations[t - 1] if t > 0 else adaptation
        s = spikes[t - 1] if t > 0 else started
        for j in range(beta.size):
            sums[0, j] += grad_u[j] * u[j]
            sums[1, j] -= grad_u[j] * s[j]
            sums[2, j] += grad_a[j] * a[j]
            grad_s[j] = grad_a[j]
            grad_u[j] *= beta[j]
            grad_a[j] *= rho[j]
    for j in range(beta.size):
        level[j] = theta[j] + kappa[j] * adaptation[j]
    x[:] = 0
    add_through_spike(grad_s, one, membrane, level, kind, slope, x)
    for j in range(beta.size):
        grad_u[j] += x[j]
        grad_a[j] -= kappa[j] * x[j]
        sums[1, j] -= x[j]
        sums[3, j] -= x[j] * adaptation[j]


def forward(
    current: Tensor, membrane: Tensor, adaptation: Tensor, parameters: Any, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, membranes and adaptations ``[T, B, N]``."""
    results = tuple(current.new_empty(current.shape) for _ in range(3))
    _forward(
        _planes(current),
        _planes(membrane).reshape(-1).copy(),
        _planes(adaptation).reshape(-1).copy(),
        _tiles(parameters, membrane),
        mask_array(mask),
        *(_planes(result) for result in results),
    )
    return results  # type: ignore[return-value]


def backward(
    saved: Any, grad_spikes: Tensor, grad_membranes: Tensor, grad_adaptations: Tensor, surrogate: Surrogate
) -> tuple[Tensor, ...]:
    """Return the gradients of current, membrane, adaptation, beta, threshold, rho and kappa."""
    spikes, membranes, adaptations, membrane, adaptation, mask, *parameters = saved
    tiles = _tiles(parameters, membrane)
    grad_current = membranes.new_empty(membranes.shape)
    grad_u, grad_a = np.zeros_like(tiles[0]), np.zeros_like(tiles[0])
    sums = np.zeros_like(tiles)
    _backward(
        *(_planes(g) for g in (grad_spikes, grad_membranes, grad_adaptations, spikes, membranes, adaptations)),
        _planes(membrane).reshape(-1),
        _planes(adaptation).reshape(-1),
        tiles,
        mask_array(mask),
        SURROGATE_CODES[surrogate.name],
        surrogate.k,
        _planes(grad_current),
        grad_u,
        grad_a,
        sums,
    )
    per_neuron = sums.reshape(4, *membrane.shape).sum(axis=1)
    shaped = (to_parameter(total, like) for total, like in zip(per_neuron, parameters, strict=True))
    states = (torch.from_numpy(g).view(membrane.shape) for g in (grad_u, grad_a))
    return grad_current, *states, *shaped


def _planes(tensor: Tensor) -> np.ndarray:
    """``[T, M]``; a ``[B, N]`` tensor is flattened by the caller."""
    array = np.ascontiguousarray(tensor.detach().numpy())
    return array.reshape(array.shape[0], -1)


def _tiles(parameters: Any, membrane: Tensor) -> np.ndarray:
    tiles = np.stack([np.broadcast_to(p.detach().numpy(), membrane.shape).reshape(-1) for p in parameters])
    return tiles.astype(_planes(membrane).dtype, copy=False)
