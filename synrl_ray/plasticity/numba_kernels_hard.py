"""Compiled CPU kernels of learning within hard bounds, where the order of changes hardly ever matters.

A weight that no order of a chunk's changes could bring to a bound takes their sum. Sums cost where a spike is, and are
formed tile by tile: WIDTH pre by WIDTH post neurons, whose traces and sums stay in the cache. The few weights that
could meet a bound within the chunk follow its steps one by one.

Legend: T simulation steps, B batch, I pre, O post, N neurons; C steps of a chunk, R = C * B its rows, each t * B + b.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_fused

WIDTH = 64
_CHUNK_ROWS = 160  # few: a weight is near a bound as often as a chunk is long; many: each chunk passes over all weights


@jit_fused
def pack(values, blocks):
    """Fill ``blocks [N / WIDTH, R, WIDTH]`` from ``values [R, N]``: a tile's part of all rows is contiguous."""
    num_rows, num_neurons = values.shape
    for block in range(blocks.shape[0]):
        first = block * WIDTH
        stop = min(num_neurons - first, WIDTH)
        for row in range(num_rows):
            for j in range(stop):
                blocks[block, row, j] = values[row, first + j]
            for j in range(stop, WIDTH):
                blocks[block, row, j] = 0


@jit_fused
def list_by_neuron(gains, scale, starts, where, values, columns, ends):
    """Sparse columns of ``gains [R, N]``: neuron n fired at rows ``where[starts[n] : starts[n + 1]]``, with ``values``.

    ``columns`` and ``ends`` are scratch for the sparse rows.
    """
    num_rows, num_neurons = gains.shape
    starts[:] = 0
    count = 0
    for row in range(num_rows):
        for n in range(num_neurons):
            columns[count] = n  # kept if it fired: no branch to predict
            count += gains[row, n] != 0
        ends[row] = count
    for k in range(count):
        starts[columns[k] + 2] += 1
    for n in range(num_neurons):
        starts[n + 1] += starts[n]
    k = 0
    for row in range(num_rows):
        while k < ends[row]:
            n = columns[k]
            free = starts[n + 1]
            where[free] = row
            values[free] = scale * gains[row, n]
            starts[n + 1] = free + 1
            k += 1


@jit_fused
def _sum_pairs(traces, starts, first, stop, where, values, sums):
    """Fill ``sums [WIDTH, WIDTH]``: for each of neurons ``first`` to ``stop``, the traces that its spikes met."""
    for n in range(first, stop):
        s = n - first
        for j in range(WIDTH):
            sums[s, j] = 0
        k, end = starts[n], starts[n + 1]
        while k + 4 <= end:
            r0, r1, r2, r3 = where[k], where[k + 1], where[k + 2], where[k + 3]
            v0, v1, v2, v3 = values[k], values[k + 1], values[k + 2], values[k + 3]
            for j in range(WIDTH):
                sums[s, j] += (v0 * traces[r0, j] + v1 * traces[r1, j]) + (v2 * traces[r2, j] + v3 * traces[r3, j])
            k += 4
        while k < end:
            r0, v0 = where[k], values[k]
            for j in range(WIDTH):
                sums[s, j] += v0 * traces[r0, j]
            k += 1


@jit_fused
def _follow(w, x, i, up_at, ups, y, o, down_at, downs, step_of, low, high, steps):
    """One weight through all steps of a chunk; ``steps [C]`` is scratch that is zero before and after."""
    for k in range(up_at.size):
        steps[step_of[up_at[k]]] += ups[k] * x[up_at[k], i]
    for k in range(down_at.size):
        steps[step_of[down_at[k]]] -= downs[k] * y[down_at[k], o]
    for t in range(steps.size):
        w = min(max(w + steps[t], low), high)
        steps[t] = 0
    return w


@jit_fused
def _events(num_rows, num_neurons, like):
    """Memory of :func:`list_by_neuron`; of the long arrays only what spikes fill is ever touched."""
    size = num_rows * num_neurons + 1
    return (
        np.empty(num_neurons + 2, np.int64), np.empty(size, np.uint32), np.empty(size, like.dtype),
    )  # fmt: skip


@jit_fused
def online_hard(weights, pre_trace, post_trace, pre_gain, post_gain, low, high, scale):
    """Change ``weights [I, O]`` step by step; factors ``[T, B, N]``."""
    num_steps, batch, num_pre = pre_trace.shape
    num_post = post_trace.shape[2]
    scale = weights.dtype.type(scale)
    chunk = min(num_steps, max(1, _CHUNK_ROWS // batch))
    num_rows = chunk * batch
    x_blocks = np.empty(((num_pre + WIDTH - 1) // WIDTH, num_rows, WIDTH), weights.dtype)
    y_blocks = np.empty(((num_post + WIDTH - 1) // WIDTH, num_rows, WIDTH), weights.dtype)
    up_starts, up_at, ups = _events(num_rows, num_post, weights)
    down_starts, down_at, downs = _events(num_rows, num_pre, weights)
    columns, ends = np.empty(num_rows * max(num_pre, num_post) + 1, np.uint32), np.empty(num_rows, np.int64)
    step_of = np.empty(num_rows, np.uint32)
    for row in range(num_rows):
        step_of[row] = row // batch
    up_OI, down = np.empty((WIDTH, WIDTH), weights.dtype), np.empty((WIDTH, WIDTH), weights.dtype)
    up = np.empty((WIDTH, WIDTH), weights.dtype)
    near, after = np.empty(WIDTH, np.bool_), np.empty(WIDTH, weights.dtype)
    steps = np.zeros(chunk, weights.dtype)
    for start in range(0, num_steps, chunk):
        stop = min(num_steps, start + chunk)
        rows = (stop - start) * batch
        pack(pre_trace[start:stop].reshape(rows, num_pre), x_blocks)
        pack(post_trace[start:stop].reshape(rows, num_post), y_blocks)
        list_by_neuron(post_gain[start:stop].reshape(rows, num_post), scale, up_starts, up_at, ups, columns, ends)
        list_by_neuron(pre_gain[start:stop].reshape(rows, num_pre), scale, down_starts, down_at, downs, columns, ends)
        for i_block in range(x_blocks.shape[0]):
            x, first_i = x_blocks[i_block], i_block * WIDTH
            stop_i = min(num_pre, first_i + WIDTH)
            for o_block in range(y_blocks.shape[0]):
                y, first_o = y_blocks[o_block], o_block * WIDTH
                stop_o = min(num_post, first_o + WIDTH)
                _sum_pairs(x, up_starts, first_o, stop_o, up_at, ups, up_OI)
                _sum_pairs(y, down_starts, first_i, stop_i, down_at, downs, down)
                for o in range(stop_o - first_o):
                    for i in range(WIDTH):
                        up[i, o] = up_OI[o, i]
                for i in range(first_i, stop_i):
                    w, lowest, highest, s = weights[i, first_o:stop_o], low[i], high[i], i - first_i
                    any_near = False
                    for o in range(w.size):
                        near[o] = (w[o] + up[s, o] > highest) | (w[o] - down[s, o] < lowest)
                        any_near |= near[o]
                        after[o] = min(max(w[o] + (up[s, o] - down[s, o]), lowest), highest)  # rounding may pass one
                    if any_near:
                        begin, end = down_starts[i], down_starts[i + 1]
                        for o in range(w.size):
                            if near[o]:
                                a, b = up_starts[first_o + o], up_starts[first_o + o + 1]
                                after[o] = _follow(
                                    w[o], x, s, up_at[a:b], ups[a:b], y, o, down_at[begin:end], downs[begin:end],
                                    step_of, lowest, highest, steps,
                                )  # fmt: skip
                    for o in range(w.size):
                        w[o] = after[o]
