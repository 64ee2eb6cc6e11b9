"""Compiled CPU kernels of the LIF scan: one call a layer, forward and backward, without the GIL.

Same recurrence as the torch scan in :mod:`synrl_ray.snn.scan`, which stays the reference. A layer's
``[B, N]`` plane is one flat row of M cells, cut into blocks that stay in the first-level cache for the whole
time loop; the inner loops run over contiguous memory so that LLVM vectorises them. Array views are
made once per block and step, since each costs more than some dozens of cells. Compiled once per dtype,
cached on disk by numba.

Legend: E input step, each held for K = ``hold`` simulation steps, T = E*K, B batch, N neurons, M = B*N cells.
``reset``: see ``RESET_CODES``.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

RESET_CODES = {"none": 0, "subtract": 1, "zero": 2}
SURROGATE_CODES = {"fast_sigmoid": 0, "atan": 1, "sigmoid": 2, "straight_through": 3}

_BLOCK = 1024
_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _tile(values, first, out):
    """Per-cell copy of a scalar or per-neuron parameter for the cells that start at ``first``."""
    if values.size == 1:
        out[:] = values[0]
    else:
        for j in range(out.size):
            out[j] = values[(first + j) % values.size]


@_jit
def _bring_in(u, threshold, reset, before, fired):
    """What a step starts from: the membrane before it and the reset that is pending."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    if reset == 0:
        for j in range(u.size):
            before[j] = u[j]
            fired[j] = zero
    else:
        for j in range(u.size):
            before[j] = u[j]
            fired[j] = one if u[j] > threshold[j] else zero


@_jit
def _rest(mask, e, first, num_neurons, values):
    """Zero the cells of masked rows."""
    last = first + values.size
    for b in range(first // num_neurons, (last - 1) // num_neurons + 1):
        if mask[e, b]:
            for j in range(max(first, b * num_neurons), min(last, (b + 1) * num_neurons)):
                values[j - first] = 0


@_jit
def _fire(u, threshold, spikes):
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(u.size):
        spikes[j] = one if u[j] > threshold[j] else zero


@_jit
def forward(current_EBN, membrane_BN, beta, threshold, reset, mask_EB, hold, membranes_TBN, spikes_TBN):
    """Fill ``membranes`` and ``spikes``. ``mask`` may be empty. All arrays are C-contiguous."""
    num_steps, batch, num_neurons = membranes_TBN.shape
    num_cells = batch * num_neurons
    current = current_EBN.reshape(current_EBN.shape[0], num_cells)
    membrane = membrane_BN.reshape(num_cells)
    membranes, spikes = membranes_TBN.reshape(num_steps, num_cells), spikes_TBN.reshape(num_steps, num_cells)
    one = membrane.dtype.type(1)
    scratch = np.empty((4, min(_BLOCK, num_cells)), membrane.dtype)
    for first in range(0, num_cells, _BLOCK):
        last = min(first + _BLOCK, num_cells)
        size = last - first
        decay, theta = scratch[0, :size], scratch[1, :size]
        before, fired = scratch[2, :size], scratch[3, :size]
        _tile(beta, first, decay)
        _tile(threshold, first, theta)
        _bring_in(membrane[first:last], theta, reset, before, fired)
        for t in range(num_steps):
            e = t // hold
            i_t = current[e, first:last]
            u_t, s_t = membranes[t, first:last], spikes[t, first:last]
            if mask_EB.size > 0 and t % hold == 0:
                _rest(mask_EB, e, first, num_neurons, before)
                _rest(mask_EB, e, first, num_neurons, fired)
            if reset == 2:
                for j in range(size):
                    u_t[j] = decay[j] * (before[j] * (one - fired[j])) + i_t[j]
            else:
                for j in range(size):
                    u_t[j] = decay[j] * before[j] + i_t[j] - fired[j] * theta[j]
            _fire(u_t, theta, s_t)
            _bring_in(u_t, theta, reset, before, fired)


@_jit
def _add(values, total):
    for j in range(total.size):
        total[j] += values[j]


@_jit
def _add_spike_gradient(through, u, threshold, kind, k, g, theta_sum):
    """``g += dL/ds * sigma'(u - theta)``; the same product is subtracted from ``theta_sum``."""
    one, half, half_pi = u.dtype.type(1), u.dtype.type(0.5), u.dtype.type(math.pi / 2)
    if kind == 0:
        for j in range(u.size):
            d = one + k * abs(u[j] - threshold[j])
            p = through[j] / (d * d)
            g[j] += p
            theta_sum[j] -= p
    elif kind == 1:
        for j in range(u.size):
            d = half_pi * k * (u[j] - threshold[j])
            p = through[j] * half * k / (one + d * d)
            g[j] += p
            theta_sum[j] -= p
    elif kind == 2:
        for j in range(u.size):
            y = one / (one + math.exp(-k * (u[j] - threshold[j])))
            p = through[j] * k * y * (one - y)
            g[j] += p
            theta_sum[j] -= p
    else:
        for j in range(u.size):
            p = through[j] * k
            g[j] += p
            theta_sum[j] -= p


@_jit
def _carry_back(g, before, fired, decay, reset, carried, beta_sum, theta_sum):
    """Carry ``g`` over one step; where the sums are not empty, collect what the parameters receive."""
    one, zero = g.dtype.type(1), g.dtype.type(0)
    if beta_sum.size == 0 and reset == 2:
        for j in range(g.size):
            carried[j] = decay[j] * (one - fired[j]) * g[j]
    elif beta_sum.size == 0:
        for j in range(g.size):
            carried[j] = decay[j] * g[j]
    elif reset == 2:
        for j in range(g.size):
            kept = one - fired[j]
            carried[j] = decay[j] * kept * g[j]
            beta_sum[j] += g[j] * before[j] * kept
    else:
        by_reset = one if reset == 1 else zero
        for j in range(g.size):
            carried[j] = decay[j] * g[j]
            beta_sum[j] += g[j] * before[j]
            theta_sum[j] -= by_reset * g[j] * fired[j]


@_jit
def backward(
    grad_spikes_TBN, grad_membranes_TBN, membranes_TBN, membrane_BN, beta, threshold, reset, mask_EB, hold,
    kind, slope, grad_current_EBN, grad_membrane_BN, grad_beta, grad_threshold,
):  # fmt: skip
    """Fill ``grad_current`` and ``grad_membrane``, add to ``grad_beta`` and ``grad_threshold [N]``.

    ``grad_spikes`` and ``grad_membranes`` may be empty; so may ``grad_beta`` and ``grad_threshold`` both
    be, where the parameters are not learned.
    """
    num_steps, batch, num_neurons = membranes_TBN.shape
    num_cells = batch * num_neurons
    membrane = membrane_BN.reshape(num_cells)
    membranes = membranes_TBN.reshape(num_steps, num_cells)
    through_spikes = grad_spikes_TBN.reshape(-1, num_cells)
    direct = grad_membranes_TBN.reshape(-1, num_cells)
    grad_current = grad_current_EBN.reshape(-1, num_cells)
    grad_membrane = grad_membrane_BN.reshape(num_cells)
    learned = grad_beta.size > 0
    k = membrane.dtype.type(slope)
    scratch = np.empty((8, min(_BLOCK, num_cells)), membrane.dtype)
    for first in range(0, num_cells, _BLOCK):
        last = min(first + _BLOCK, num_cells)
        size = last - first
        decay, theta = scratch[0, :size], scratch[1, :size]
        before, fired, carried = scratch[2, :size], scratch[3, :size], scratch[4, :size]
        beta_sum, theta_sum, held = scratch[5, : size * learned], scratch[6, :size], scratch[7, :size]
        _tile(beta, first, decay)
        _tile(threshold, first, theta)
        carried[:] = 0
        beta_sum[:] = 0
        theta_sum[:] = 0
        for t in range(num_steps - 1, -1, -1):
            e = t // hold
            g_e = grad_current[e, first:last]
            g = g_e if hold == 1 else held
            for j in range(size):
                g[j] = carried[j]
            if direct.size > 0:
                _add(direct[t, first:last], g)
            if through_spikes.size > 0:
                through = through_spikes[t, first:last]
                _add_spike_gradient(through, membranes[t, first:last], theta, kind, k, g, theta_sum)
            if hold > 1 and t % hold == hold - 1:
                g_e[:] = g
            elif hold > 1:
                _add(g, g_e)
            starts = mask_EB.size > 0 and t % hold == 0
            if learned or reset == 2:
                u_before = membrane[first:last] if t == 0 else membranes[t - 1, first:last]
                _bring_in(u_before, theta, reset, before, fired)
                if starts:
                    _rest(mask_EB, e, first, num_neurons, before)
                    _rest(mask_EB, e, first, num_neurons, fired)
            _carry_back(g, before, fired, decay, reset, carried, beta_sum, theta_sum)
            if starts:
                _rest(mask_EB, e, first, num_neurons, carried)
        for j in range(size):
            grad_membrane[first + j] = carried[j]
        if learned:
            for j in range(size):
                grad_beta[(first + j) % num_neurons] += beta_sum[j]
                grad_threshold[(first + j) % num_neurons] += theta_sum[j]
