"""Compiled CPU kernels of the LIF scan: one call a layer, forward and backward, without the GIL.

Same recurrence as the torch scan, which stays the reference; equations in :mod:`synrl_ray.snn.scan`. A layer's
``[B, N]`` plane is one flat row of M cells, cut into blocks that stay in the first-level cache for the whole
time loop; the inner loops run over contiguous memory so that LLVM vectorises them. Compiled once per
dtype, cached on disk by numba.

Arrays come flat and C-contiguous, their shapes are arguments. Three things beyond the plain scan let a network run
without copies: an *empty* array means "not there" (no mask, at rest, not wanted); ``pool`` sums the spikes of each
observation with weights instead of emitting them; outputs may lie over inputs (membranes over the current, its
gradient over that of the spikes). ``state``, ``final`` and their gradients are ``[B, S]`` for a whole network; the
layer's membranes start at column ``*_at``.

Legend: T simulation steps, B batch, N neurons, M = B*N cells; E observations of K = ``period`` steps each. The
current comes once per ``hold`` steps, 1 or K of them. ``reset`` and ``kind``: codes of
:mod:`synrl_ray.snn.cell_kernels`.
"""

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit
from synrl_ray.snn.cell_kernels import (
    add,
    add_through_spike,
    carry_back,
    collect,
    copy,
    fire,
    fire_and_keep,
    integrate,
    pool,
    subtract,
)
from synrl_ray.snn.event_kernels import list_fired, spread

_BLOCK = 2048


@jit
def _block_size(num_cells, num_neurons):
    """Whole rows where they fit, so that every block's cells are the same neurons."""
    whole = _BLOCK - _BLOCK % num_neurons if num_neurons <= _BLOCK else _BLOCK
    return min(whole, num_cells)


@jit
def _tile(values, first, out):
    """Per-cell copy of a scalar or per-neuron parameter for the cells that start at ``first``."""
    n = first % values.size
    if values.size == 1:
        out[:] = values[0]
    else:
        for j in range(out.size):
            out[j] = values[n]
            n = n + 1 if n + 1 < values.size else 0


@jit
def _sum_to_neurons(values, first, out):
    """Add the cells that start at ``first`` to their neurons."""
    n = first % out.size
    for j in range(values.size):
        out[n] += values[j]
        n = n + 1 if n + 1 < out.size else 0


@jit
def _at(planes, t, num_cells, first, size):
    """The block's cells in plane ``t``."""
    start = t * num_cells + first
    return planes[start : start + size]


@jit
def _load(state, column, batch, first, num_neurons, out):
    """The block's cells from rows that hold the neurons from ``column`` on."""
    width = state.size // batch
    row, start = first // num_neurons, first % num_neurons
    done = 0
    while done < out.size:
        run = min(num_neurons - start, out.size - done)
        origin = row * width + column + start
        for j in range(run):
            out[done + j] = state[origin + j]
        done += run
        row += 1
        start = 0


@jit
def _store(values, state, column, batch, first, num_neurons):
    """The inverse of ``_load``."""
    width = state.size // batch
    row, start = first // num_neurons, first % num_neurons
    done = 0
    while done < values.size:
        run = min(num_neurons - start, values.size - done)
        origin = row * width + column + start
        for j in range(run):
            state[origin + j] = values[done + j]
        done += run
        row += 1
        start = 0


@jit
def _rest(mask, e, first, num_neurons, values):
    """Zero the cells of masked rows."""
    last = first + values.size
    for b in range(first // num_neurons, (last - 1) // num_neurons + 1):
        if mask[e, b]:
            for j in range(max(first, b * num_neurons), min(last, (b + 1) * num_neurons)):
                values[j - first] = 0


@jit
def forward(
    current, bias, bias_gain, state, state_at, beta, threshold, reset, mask_EB, hold, period, pool_K, num_steps, batch,
    num_neurons, membranes, spikes, index, ends, most, final, final_at,
):  # fmt: skip
    """Fill ``membranes``, ``spikes`` (every step's, or their pooled sums) or their lists, and the ``final`` membrane.

    Returns whether it listed: from the first block of cells on where more than the share ``most`` fires, it does not.
    ``bias_gain`` times ``bias`` adds to every step's current; with a ``bias`` for every channel of a map, of which the
    N neurons are ``[..., channels]``, to each of its neurons. ``index [T*B, N]`` and ``ends [T*B, P + 1]`` are those of
    :mod:`synrl_ray.snn.spike_lists`.
    May be empty: ``bias``, ``state``, ``mask``, ``pool``, ``membranes``, ``spikes``, ``index`` with ``ends``.
    """
    num_cells = batch * num_neurons
    block = _block_size(num_cells, num_neurons)
    scratch = np.zeros((4, block), final.dtype)
    gain = final.dtype.type(bias_gain)
    lists, fired = index.size > 0, 0
    for first in range(0, num_cells, block):
        size = min(block, num_cells - first)
        decay, theta, shift, u = scratch[0, :size], scratch[1, :size], scratch[2, :size], scratch[3, :size]
        if first == 0 or block < num_neurons:
            _tile(beta, first, decay)
            _tile(threshold, first, theta)
            if bias.size > 0:
                _tile(bias, first, shift)
                for j in range(size):
                    shift[j] *= gain
        u[:] = 0
        if state.size > 0:
            _load(state, state_at, batch, first, num_neurons, u)
        for t in range(num_steps):
            if mask_EB.size > 0 and t % period == 0:
                _rest(mask_EB, t // period, first, num_neurons, u)
            integrate(_at(current, t // hold, num_cells, first, size), shift, decay, theta, reset, u)
            if pool_K.size > 0:
                total = _at(spikes, t // period, num_cells, first, size)
                pool(u, theta, pool_K[t % period], t % period == 0, total)
            elif lists:
                fired += list_fired(u, theta, t * num_cells + first, num_neurons, index, ends)
            elif spikes.size > 0 and membranes.size > 0:
                kept = _at(membranes, t, num_cells, first, size)
                fire_and_keep(u, theta, kept, _at(spikes, t, num_cells, first, size))
            elif spikes.size > 0:
                fire(u, theta, _at(spikes, t, num_cells, first, size))
            if membranes.size > 0 and (pool_K.size > 0 or lists or spikes.size == 0):
                copy(u, _at(membranes, t, num_cells, first, size))
        _store(u, final, final_at, batch, first, num_neurons)
        if lists and fired > most * (first + size) * num_steps:
            lists = False
            for t in range(num_steps):
                spread(index, ends, t * num_cells, first + size, spikes)
    return lists


@jit
def backward(
    grad_spikes, grad_membranes, grad_final, final_at, membranes, bias_gain, state, state_at, beta, threshold, reset,
    mask_EB, hold, period, pool_K, num_steps, batch, num_neurons, kind, slope, grad_current, grad_state, grad_bias,
    grad_beta, grad_threshold,
):  # fmt: skip
    """Fill ``grad_current``, ``grad_state``, and ``grad_bias``, ``grad_beta``, ``grad_threshold``, ``[N]`` each.

    May be empty: every incoming gradient, ``state``, ``mask``, ``pool``, ``grad_state``, ``grad_bias``; ``grad_beta``
    with ``grad_threshold`` where the parameters are not learned; ``membranes`` where no gradient arrives by spikes
    and none of these is wanted and ``reset`` does not need them.
    """
    grad_bias[:] = 0
    grad_beta[:] = 0
    grad_threshold[:] = 0
    num_cells = batch * num_neurons
    learned = grad_beta.size > 0
    one, gain = grad_current.dtype.type(1), grad_current.dtype.type(bias_gain)
    block = _block_size(num_cells, num_neurons)
    scratch = np.zeros((9, block), grad_current.dtype)
    for first in range(0, num_cells, block):
        size = min(block, num_cells - first)
        decay, theta, g, product = scratch[0, :size], scratch[1, :size], scratch[2, :size], scratch[3, :size]
        before, fired = scratch[4, :size], scratch[5, :size]
        beta_sum, theta_sum, bias_sum = scratch[6, :size], scratch[7, :size], scratch[8, :size]
        if first == 0 or block < num_neurons:
            _tile(beta, first, decay)
            _tile(threshold, first, theta)
            scratch[6:] = 0
        g[:] = 0
        if grad_final.size > 0:
            _load(grad_final, final_at, batch, first, num_neurons, g)
        for t in range(num_steps - 1, -1, -1):
            if grad_membranes.size > 0:
                add(_at(grad_membranes, t, num_cells, first, size), g)
            if grad_spikes.size > 0:
                pooled = pool_K.size > 0
                scale = pool_K[t % period] if pooled else one
                through = _at(grad_spikes, t // period if pooled else t, num_cells, first, size)
                u = _at(membranes, t, num_cells, first, size)
                if learned:
                    product[:] = 0
                    add_through_spike(through, scale, u, theta, kind, slope, product)
                    add(product, g)
                    subtract(product, theta_sum)
                else:
                    add_through_spike(through, scale, u, theta, kind, slope, g)
            if t % hold == hold - 1:
                copy(g, _at(grad_current, t // hold, num_cells, first, size))
            else:
                add(g, _at(grad_current, t // hold, num_cells, first, size))
            if grad_bias.size > 0 and t % hold == 0:
                add(_at(grad_current, t // hold, num_cells, first, size), bias_sum)
            starts = mask_EB.size > 0 and t % period == 0
            if learned or reset == 2:
                before[:] = 0
                if t > 0:
                    copy(_at(membranes, t - 1, num_cells, first, size), before)
                elif state.size > 0:
                    _load(state, state_at, batch, first, num_neurons, before)
                if starts:
                    _rest(mask_EB, t // period, first, num_neurons, before)
                fire(before, theta, fired)
            if learned:
                collect(g, before, fired, reset, beta_sum, theta_sum)
            carry_back(fired, decay, reset, g)
            if starts:
                _rest(mask_EB, t // period, first, num_neurons, g)
        if grad_state.size > 0:
            _store(g, grad_state, state_at, batch, first, num_neurons)
        if first + size == num_cells or block < num_neurons:
            if grad_bias.size > 0:
                _sum_to_neurons(scratch[8], first, grad_bias)
            if learned:
                _sum_to_neurons(scratch[6], first, grad_beta)
                _sum_to_neurons(scratch[7], first, grad_threshold)
    for n in range(grad_bias.size):
        grad_bias[n] *= gain
