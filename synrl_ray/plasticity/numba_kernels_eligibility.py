r"""Compiled CPU kernel of reward-modulated STDP within hard bounds, by chunks of steps and tiles of weights.

A chunk changes a weight by :math:`\sum_t m_t e_t`, which needs no trace at every step: with
:math:`M_t = m_t + \lambda_e M_{t+1}` inside the chunk, it is
:math:`\lambda_e M_0\, e_{-1} + \sum_t M_t\, \text{STDP}_t`. The same sum over absolute values limits how far the weight
can come on its way; weights that could meet a bound there follow the chunk step by step.

Potentiation sums are natural in ``[O, I]``, depression in ``[I, O]``. So the eligibility of a tile is kept as the
difference of a rise ``[O, B, I]`` and a fall ``[I, B, O]``, and only sums over the batch are ever transposed.

Legend: T simulation steps, B batch, I pre, O post; C steps of a chunk, R = C * B its rows, each t * B + b.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_fused, jit_reordered
from synrl_ray.plasticity.numba_kernels_hard import WIDTH, list_by_neuron, pack

_CHUNK_ROWS = 400  # weights near a bound are as many as a chunk is long; each chunk passes over the eligibility once
_ROW_COST = 24  # steps of a whole row, in steps of one weight with a large batch


@jit_fused
def _coefficients(modulator, decay, mask, first, stop, met, reach, left, carried):
    """What a chunk does with a change of the trace at each of its rows, and with the trace before it.

    ``met [R]`` sums the modulator that a change will still meet, ``reach [R]`` its absolute value; ``left [R]`` is what
    the chunk leaves of the change. ``carried [3, B]`` is the same three for the trace before the chunk.
    """
    batch = modulator.shape[1]
    for b in range(batch):
        m = r = decay - decay
        kept = left.dtype.type(1)
        for t in range(stop - 1, first - 1, -1):
            row = (t - first) * batch + b
            m += modulator[t, b]
            r += abs(modulator[t, b])
            met[row], reach[row], left[row] = m, r, kept
            keep = decay
            if mask.size > 0 and mask[t, b]:
                keep = decay - decay
            m, r, kept = m * keep, r * keep, kept * keep
        carried[0, b], carried[1, b], carried[2, b] = m, r, kept


@jit_fused
def _meet(traces, starts, first, stop, where, values, met, reach, trace, carried, sums, reaches):
    """Fill ``sums`` and ``reaches [WIDTH, WIDTH]`` of neurons ``first`` to ``stop`` from their spikes in the chunk and
    their ``trace [WIDTH, B, WIDTH]`` before it; ``traces [R, WIDTH]`` are those that the spikes met.
    """
    batch = carried.shape[1]
    for n in range(first, stop):
        s = n - first
        for j in range(WIDTH):
            sums[s, j] = 0
            reaches[s, j] = 0
        b = 0
        while b + 2 <= batch:  # two at a time: the sums are loaded and stored half as often
            m0, m1, a0, a1 = carried[0, b], carried[0, b + 1], carried[1, b], carried[1, b + 1]
            for j in range(WIDTH):
                sums[s, j] += m0 * trace[s, b, j] + m1 * trace[s, b + 1, j]
                reaches[s, j] += a0 * abs(trace[s, b, j]) + a1 * abs(trace[s, b + 1, j])
            b += 2
        if b < batch:
            m0, a0 = carried[0, b], carried[1, b]
            for j in range(WIDTH):
                sums[s, j] += m0 * trace[s, b, j]
                reaches[s, j] += a0 * abs(trace[s, b, j])
        k, end = starts[n], starts[n + 1]
        while k + 2 <= end:
            r0, r1 = where[k], where[k + 1]
            m0, m1 = values[k] * met[r0], values[k + 1] * met[r1]
            a0, a1 = values[k] * reach[r0], values[k + 1] * reach[r1]
            for j in range(WIDTH):
                sums[s, j] += m0 * traces[r0, j] + m1 * traces[r1, j]
                reaches[s, j] += a0 * traces[r0, j] + a1 * traces[r1, j]
            k += 2
        if k < end:
            r0 = where[k]
            m0, a0 = values[k] * met[r0], values[k] * reach[r0]
            for j in range(WIDTH):
                sums[s, j] += m0 * traces[r0, j]
                reaches[s, j] += a0 * traces[r0, j]


@jit_fused
def _advance(traces, starts, first, stop, where, values, left, carried, trace):
    """Bring ``trace [WIDTH, B, WIDTH]`` of neurons ``first`` to ``stop`` to the end of the chunk."""
    batch = carried.shape[1]
    for n in range(first, stop):
        s = n - first
        for b in range(batch):
            kept = carried[2, b]
            for j in range(WIDTH):
                trace[s, b, j] *= kept
        for k in range(starts[n], starts[n + 1]):
            row = where[k]
            b, value = row % batch, values[k] * left[row]
            for j in range(WIDTH):
                trace[s, b, j] += value * traces[row, j]


@jit_reordered
def _follow_one(w, e, x, i, up_at, ups, y, o, down_at, downs, modulator, mask, decay, low, high, steps):
    """One weight and its traces ``e [B]`` through all steps; ``steps [R]`` is scratch, zero before and after."""
    num_steps, batch = modulator.shape
    for k in range(up_at.size):
        steps[up_at[k]] += ups[k] * x[up_at[k], i]
    for k in range(down_at.size):
        steps[down_at[k]] -= downs[k] * y[down_at[k], o]
    for t in range(num_steps):
        if mask.size > 0:
            for b in range(batch):
                if mask[t, b]:
                    e[b] = 0
        change = decay - decay
        first = t * batch
        for b in range(batch):
            e[b] = decay * e[b] + steps[first + b]
            change += modulator[t, b] * e[b]
        w = min(max(w + change, low), high)
    steps[: num_steps * batch] = 0
    return w


@jit_fused
def _follow_row(w, e, x, i, downs, p, y, modulator, mask, decay, low, high, change):
    """WIDTH weights ``w`` of pre neuron i of a tile and their traces ``e [B, WIDTH]`` through all steps."""
    num_steps, batch = modulator.shape
    for t in range(num_steps):
        for j in range(WIDTH):
            change[j] = 0
        for b in range(batch):
            row = t * batch + b
            keep, m = decay, modulator[t, b]
            if mask.size > 0 and mask[t, b]:
                keep = decay - decay
            up, down = x[row, i], downs[row]
            for j in range(WIDTH):
                now = keep * e[b, j] + (up * p[row, j] - down * y[row, j])
                e[b, j] = now
                change[j] += m * now
        for j in range(WIDTH):
            w[j] = min(max(w[j] + change[j], low), high)


@jit_fused
def _lists(num_chunks, num_rows, num_neurons, like):
    """Memory of :func:`list_by_neuron` for each chunk; of the long arrays only what spikes fill is ever touched."""
    size = num_rows * num_neurons + 1
    starts = np.empty((num_chunks, num_neurons + 2), np.int64)
    return starts, np.empty((num_chunks, size), np.uint32), np.empty((num_chunks, size), like.dtype)


@jit_fused
def online_hard_eligibility(
    weights, eligibility, pre_trace, post_trace, pre_gain, post_gain, modulator, decay, mask, low, high, scale
):  # fmt: skip
    """Change ``weights [I, O]`` and ``eligibility [B, I, O]`` step by step; factors ``[T, B, N]``."""
    num_steps, batch, num_pre = pre_trace.shape
    num_post, num_rows = post_trace.shape[2], num_steps * batch
    dtype = weights.dtype
    one, decay = dtype.type(1), dtype.type(decay)
    modulator = dtype.type(scale) * modulator
    chunk = min(num_steps, max(1, _CHUNK_ROWS // batch))
    num_chunks, rows = (num_steps + chunk - 1) // chunk, chunk * batch
    blocks_I, blocks_O = (num_pre + WIDTH - 1) // WIDTH, (num_post + WIDTH - 1) // WIDTH
    x_blocks, y_blocks = np.empty((blocks_I, num_rows, WIDTH), dtype), np.empty((blocks_O, num_rows, WIDTH), dtype)
    p_blocks = np.empty((blocks_O, num_rows, WIDTH), dtype)
    pack(pre_trace.reshape(num_rows, num_pre), x_blocks)
    pack(post_trace.reshape(num_rows, num_post), y_blocks)
    pack(post_gain.reshape(num_rows, num_post), p_blocks)
    up_starts, up_at, ups = _lists(num_chunks, rows, num_post, weights)
    down_starts, down_at, downs = _lists(num_chunks, rows, num_pre, weights)
    columns, ends = np.empty(rows * max(num_pre, num_post) + 1, np.uint32), np.empty(rows, np.int64)
    shape = (num_chunks, rows)
    met, reach, left = np.empty(shape, dtype), np.empty(shape, dtype), np.empty(shape, dtype)
    carried = np.empty((num_chunks, 3, batch), dtype)
    for c in range(num_chunks):
        a, z = c * chunk, min(num_steps, (c + 1) * chunk)
        count = (z - a) * batch
        list_by_neuron(post_gain[a:z].reshape(count, num_post), one, up_starts[c], up_at[c], ups[c], columns, ends)
        list_by_neuron(pre_gain[a:z].reshape(count, num_pre), one, down_starts[c], down_at[c], downs[c], columns, ends)
        _coefficients(modulator, decay, mask, a, z, met[c], reach[c], left[c], carried[c])
    tile = (WIDTH, WIDTH)
    up_OI, up_reach_OI = np.empty(tile, dtype), np.empty(tile, dtype)
    up, up_reach = np.empty(tile, dtype), np.empty(tile, dtype)
    down, down_reach = np.empty(tile, dtype), np.empty(tile, dtype)
    rise, fall = np.zeros((WIDTH, batch, WIDTH), dtype), np.zeros((WIDTH, batch, WIDTH), dtype)
    near, after = np.zeros(WIDTH, np.bool_), np.zeros(WIDTH, dtype)
    e, e_row, change = np.empty(batch, dtype), np.empty((batch, WIDTH), dtype), np.empty(WIDTH, dtype)
    column, steps = np.zeros(rows, dtype), np.zeros(rows, dtype)
    for i_block in range(blocks_I):
        first_i = i_block * WIDTH
        size_i = min(num_pre - first_i, WIDTH)
        for o_block in range(blocks_O):
            first_o = o_block * WIDTH
            size_o = min(num_post - first_o, WIDTH)
            rise[:] = 0
            for i in range(size_i):
                for b in range(batch):
                    for o in range(size_o):
                        fall[i, b, o] = -eligibility[b, first_i + i, first_o + o]
            for c in range(num_chunks):
                first_t, stop_t = c * chunk, min(num_steps, (c + 1) * chunk)
                a, z = first_t * batch, stop_t * batch
                x, y, p = x_blocks[i_block, a:z], y_blocks[o_block, a:z], p_blocks[o_block, a:z]
                _meet(
                    x, up_starts[c], first_o, first_o + size_o, up_at[c], ups[c], met[c], reach[c], rise, carried[c],
                    up_OI, up_reach_OI,
                )  # fmt: skip
                _meet(
                    y, down_starts[c], first_i, first_i + size_i, down_at[c], downs[c], met[c], reach[c], fall,
                    carried[c], down, down_reach,
                )  # fmt: skip
                for o in range(size_o):
                    for i in range(WIDTH):
                        up[i, o] = up_OI[o, i]
                        up_reach[i, o] = up_reach_OI[o, i]
                for i in range(size_i):
                    w = weights[first_i + i, first_o : first_o + size_o]
                    lowest, highest = low[first_i + i], high[first_i + i]
                    num_near = 0
                    for o in range(size_o):
                        limit = up_reach[i, o] + down_reach[i, o]
                        near[o] = not ((w[o] + limit <= highest) & (w[o] - limit >= lowest))  # so is what overflowed
                        num_near += near[o]
                        after[o] = min(max(w[o] + (up[i, o] - down[i, o]), lowest), highest)  # rounding may pass one
                    begin, end = down_starts[c, first_i + i], down_starts[c, first_i + i + 1]
                    if num_near * (batch + 8) > _ROW_COST * batch:
                        for k in range(begin, end):
                            column[down_at[c, k]] = downs[c, k]
                        for b in range(batch):
                            for o in range(WIDTH):
                                e_row[b, o] = rise[o, b, i] - fall[i, b, o]
                        after[:size_o] = w
                        _follow_row(
                            after, e_row, x, i, column, p, y, modulator[first_t:stop_t], mask[first_t:stop_t], decay,
                            lowest, highest, change,
                        )  # fmt: skip
                        for k in range(begin, end):
                            column[down_at[c, k]] = 0
                    elif num_near > 0:
                        for o in range(size_o):
                            if near[o]:
                                for b in range(batch):
                                    e[b] = rise[o, b, i] - fall[i, b, o]
                                ups_begin, ups_end = up_starts[c, first_o + o], up_starts[c, first_o + o + 1]
                                after[o] = _follow_one(
                                    w[o], e, x, i, up_at[c, ups_begin:ups_end], ups[c, ups_begin:ups_end], y, o,
                                    down_at[c, begin:end], downs[c, begin:end], modulator[first_t:stop_t],
                                    mask[first_t:stop_t], decay, lowest, highest, steps,
                                )  # fmt: skip
                    for o in range(size_o):
                        w[o] = after[o]
                _advance(x, up_starts[c], first_o, first_o + size_o, up_at[c], ups[c], left[c], carried[c], rise)
                _advance(y, down_starts[c], first_i, first_i + size_i, down_at[c], downs[c], left[c], carried[c], fall)
            for b in range(batch):
                for i in range(size_i):
                    for o in range(size_o):
                        eligibility[b, first_i + i, first_o + o] = rise[o, b, i] - fall[i, b, o]
