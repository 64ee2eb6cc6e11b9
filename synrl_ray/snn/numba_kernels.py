"""Compiled CPU kernels of the LIF scan: one call a layer, forward and backward, without the GIL.

Same recurrence as the torch scan, which stays the reference; equations in :mod:`synrl_ray.snn.scan`. A layer's
``[B, N]`` plane is one flat row of M cells, cut into blocks that stay in the first-level cache for the whole
time loop; the inner loops run over contiguous memory so that LLVM vectorises them. Compiled once per
dtype, cached on disk by numba.

Three things beyond the plain scan let a network run without copies: an *empty* array means "not there"
(no mask, at rest, not wanted); ``pool`` sums the spikes of each observation with weights instead of
emitting them; outputs may lie over inputs (membranes over the current, its gradient over the spikes').

Legend: T simulation steps, B batch, N neurons, M = B*N cells; E observations of K = ``period`` steps each. The
current comes once per ``hold`` steps, 1 or K of them. ``reset``: see ``RESET_CODES``.
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
    start = first % values.size
    done = 0
    if values.size == 1:
        out[:] = values[0]
        done = out.size
    while done < out.size:
        run = min(values.size - start, out.size - done)
        out[done : done + run] = values[start : start + run]
        done += run
        start = 0


@_jit
def _sum_to_neurons(values, first, out):
    """Add the cells that start at ``first`` to their neurons."""
    start = first % out.size
    done = 0
    while done < values.size:
        run = min(out.size - start, values.size - done)
        for j in range(run):
            out[start + j] += values[done + j]
        done += run
        start = 0


@_jit
def _copy(values, out):
    for j in range(out.size):
        out[j] = values[j]


@_jit
def _add(values, total):
    for j in range(total.size):
        total[j] += values[j]


@_jit
def _rest(mask, e, first, num_neurons, values):
    """Zero the cells of masked rows."""
    last = first + values.size
    for b in range(first // num_neurons, (last - 1) // num_neurons + 1):
        if mask[e, b]:
            for j in range(max(first, b * num_neurons), min(last, (b + 1) * num_neurons)):
                values[j - first] = 0


@_jit
def _fire(u, threshold, fired):
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(u.size):
        fired[j] = one if u[j] > threshold[j] else zero


@_jit
def _integrate(drive, fired, decay, theta, reset, u):
    """One step of the membrane ``u`` in place."""
    one = u.dtype.type(1)
    if reset == 1:
        for j in range(u.size):
            u[j] = decay[j] * u[j] + drive[j] - fired[j] * theta[j]
    elif reset == 2:
        for j in range(u.size):
            u[j] = decay[j] * (u[j] * (one - fired[j])) + drive[j]
    else:
        for j in range(u.size):
            u[j] = decay[j] * u[j] + drive[j]


@_jit
def _pool(fired, weight, is_first, total):
    if is_first:
        for j in range(total.size):
            total[j] = weight * fired[j]
    else:
        for j in range(total.size):
            total[j] += weight * fired[j]


@_jit
def forward(
    current_XBN, membrane_BN, beta, threshold, reset, mask_EB, hold, period, pool_K, num_steps,
    membranes_TBN, spikes_XBN, final_BN,
):  # fmt: skip
    """Fill ``membranes``, ``spikes`` (``[T]`` steps, or ``[E]`` pooled sums) and the ``final`` membrane.

    May be empty: ``membrane``, ``mask``, ``pool``, ``membranes``. All arrays are C-contiguous.
    """
    batch, num_neurons = final_BN.shape
    num_cells = batch * num_neurons
    current, membrane = current_XBN.reshape(-1, num_cells), membrane_BN.reshape(-1)
    membranes, spikes = membranes_TBN.reshape(-1, num_cells), spikes_XBN.reshape(-1, num_cells)
    final = final_BN.reshape(-1)
    scratch = np.empty((5, min(_BLOCK, num_cells)), final.dtype)
    for first in range(0, num_cells, _BLOCK):
        last = min(first + _BLOCK, num_cells)
        size = last - first
        decay, theta, drive = scratch[0, :size], scratch[1, :size], scratch[2, :size]
        u, fired = scratch[3, :size], scratch[4, :size]
        _tile(beta, first, decay)
        _tile(threshold, first, theta)
        if membrane.size > 0:
            _copy(membrane[first:last], u)
            _fire(u, theta, fired)
        else:
            u[:] = 0
            fired[:] = 0
        for t in range(num_steps):
            if t % hold == 0:
                _copy(current[t // hold, first:last], drive)
            if mask_EB.size > 0 and t % period == 0:
                _rest(mask_EB, t // period, first, num_neurons, u)
                _rest(mask_EB, t // period, first, num_neurons, fired)
            _integrate(drive, fired, decay, theta, reset, u)
            _fire(u, theta, fired)
            if membranes.size > 0:
                _copy(u, membranes[t, first:last])
            if pool_K.size > 0:
                _pool(fired, pool_K[t % period], t % period == 0, spikes[t // period, first:last])
            else:
                _copy(fired, spikes[t, first:last])
        _copy(u, final[first:last])


@_jit
def _through_spike(grad, scale, u, threshold, kind, k, out):
    """``out = scale * dL/ds * sigma'(u - theta)``."""
    one, half, half_pi = u.dtype.type(1), u.dtype.type(0.5), u.dtype.type(math.pi / 2)
    if kind == 0:
        for j in range(u.size):
            d = one + k * abs(u[j] - threshold[j])
            out[j] = scale * grad[j] / (d * d)
    elif kind == 1:
        for j in range(u.size):
            d = half_pi * k * (u[j] - threshold[j])
            out[j] = scale * grad[j] * half * k / (one + d * d)
    elif kind == 2:
        for j in range(u.size):
            y = one / (one + math.exp(-k * (u[j] - threshold[j])))
            out[j] = scale * grad[j] * k * y * (one - y)
    else:
        for j in range(u.size):
            out[j] = scale * grad[j] * k


@_jit
def _carry_back(fired, decay, reset, g):
    """Carry ``g`` over one step, in place."""
    one = g.dtype.type(1)
    if reset == 2:
        for j in range(g.size):
            g[j] *= decay[j] * (one - fired[j])
    else:
        for j in range(g.size):
            g[j] *= decay[j]


@_jit
def _collect(g, before, fired, reset, beta_sum, theta_sum):
    """What ``beta`` and ``threshold`` receive from one step."""
    one = g.dtype.type(1)
    if reset == 2:
        for j in range(g.size):
            beta_sum[j] += g[j] * before[j] * (one - fired[j])
    else:
        for j in range(g.size):
            beta_sum[j] += g[j] * before[j]
    if reset == 1:
        for j in range(g.size):
            theta_sum[j] -= g[j] * fired[j]


@_jit
def backward(
    grad_spikes_XBN, grad_membranes_TBN, grad_final_BN, membranes_TBN, membrane_BN, beta, threshold, reset, mask_EB,
    hold, period, pool_K, kind, slope, grad_current_XBN, grad_membrane_BN, grad_beta, grad_threshold,
):  # fmt: skip
    """Fill ``grad_current`` and ``grad_membrane``, add to ``grad_beta`` and ``grad_threshold [N]``.

    May be empty: every incoming gradient, ``membrane``, ``mask``, ``pool``, ``grad_membrane``, and
    ``grad_beta`` with ``grad_threshold`` where the parameters are not learned.
    """
    num_steps, batch, num_neurons = membranes_TBN.shape
    num_cells = batch * num_neurons
    membrane, membranes = membrane_BN.reshape(-1), membranes_TBN.reshape(num_steps, num_cells)
    through_spikes, direct = grad_spikes_XBN.reshape(-1, num_cells), grad_membranes_TBN.reshape(-1, num_cells)
    grad_final, grad_membrane = grad_final_BN.reshape(-1), grad_membrane_BN.reshape(-1)
    grad_current = grad_current_XBN.reshape(-1, num_cells)
    learned = grad_beta.size > 0
    k = membranes.dtype.type(slope)
    scratch = np.empty((8, min(_BLOCK, num_cells)), membranes.dtype)
    for first in range(0, num_cells, _BLOCK):
        last = min(first + _BLOCK, num_cells)
        size = last - first
        decay, theta, g, product = scratch[0, :size], scratch[1, :size], scratch[2, :size], scratch[3, :size]
        before, fired = scratch[4, :size], scratch[5, :size]
        beta_sum, theta_sum = scratch[6, :size], scratch[7, :size]
        _tile(beta, first, decay)
        _tile(threshold, first, theta)
        beta_sum[:] = 0
        theta_sum[:] = 0
        if grad_final.size > 0:
            _copy(grad_final[first:last], g)
        else:
            g[:] = 0
        for t in range(num_steps - 1, -1, -1):
            if direct.size > 0:
                _add(direct[t, first:last], g)
            if through_spikes.size > 0:
                scale = pool_K[t % period] if pool_K.size > 0 else k / k
                row = t // period if pool_K.size > 0 else t
                u = membranes[t, first:last]
                _through_spike(through_spikes[row, first:last], scale, u, theta, kind, k, product)
                _add(product, g)
                if learned:
                    for j in range(size):
                        theta_sum[j] -= product[j]
            if t % hold == hold - 1:
                _copy(g, grad_current[t // hold, first:last])
            else:
                _add(g, grad_current[t // hold, first:last])
            if learned or reset == 2:
                if t > 0:
                    _copy(membranes[t - 1, first:last], before)
                elif membrane.size > 0:
                    _copy(membrane[first:last], before)
                else:
                    before[:] = 0
                if mask_EB.size > 0 and t % period == 0:
                    _rest(mask_EB, t // period, first, num_neurons, before)
                _fire(before, theta, fired)
            if learned:
                _collect(g, before, fired, reset, beta_sum, theta_sum)
            _carry_back(fired, decay, reset, g)
            if mask_EB.size > 0 and t % period == 0:
                _rest(mask_EB, t // period, first, num_neurons, g)
        if grad_membrane.size > 0:
            _copy(g, grad_membrane[first:last])
        if learned:
            _sum_to_neurons(beta_sum, first, grad_beta)
            _sum_to_neurons(theta_sum, first, grad_threshold)
