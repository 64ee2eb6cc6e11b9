"""Compiled CPU kernels of plasticity: one call a fragment, without the GIL. Traces, sums, and soft bounds.

Spikes are rare, so the work goes where a spike is. A presynaptic spike changes a row of weights, a postsynaptic one a
column; columns are kept as rows of a transposed sum, so that both are contiguous loops that LLVM vectorises.

With soft bounds each change depends on the weight before it, so that the order of changes matters to every weight. The
kernels of hard bounds stand in ``numba_kernels_hard`` and ``numba_kernels_eligibility``.

Legend: T simulation steps, B batch, I pre, O post, N neurons. An empty mask means that there is none.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_fused

_LEAST = 1e-3  # of the factor that a decaying trace is kept without


@jit_fused
def trace_scan(spikes, trace, decay, nearest, mask, traces):
    """Fill ``traces [T, B, N]``."""
    num_steps, batch, num_neurons = spikes.shape
    decay = trace.dtype.type(decay)
    for b in range(batch):
        before = trace[b]
        for t in range(num_steps):
            now, fired = traces[t, b], spikes[t, b]
            keep = decay
            if mask.size > 0 and mask[t, b]:
                keep = decay - decay
            if nearest:
                for n in range(num_neurons):
                    now[n] = fired[n] if fired[n] != 0 else keep * before[n]
            else:
                for n in range(num_neurons):
                    now[n] = keep * before[n] + fired[n]
            before = now


@jit_fused
def discounted_sums(values, decay, mask, sums):
    """Fill ``sums [T, B]`` from the last step backwards."""
    num_steps, batch = values.shape
    decay = values.dtype.type(decay)
    sums[num_steps - 1] = values[num_steps - 1]
    for t in range(num_steps - 2, -1, -1):
        for b in range(batch):
            sums[t, b] = values[t, b]
            if mask.size == 0 or not mask[t + 1, b]:
                sums[t, b] += decay * sums[t + 1, b]


@jit_fused
def _add(scale, values, total):
    """``total += scale * values``."""
    for j in range(total.size):
        total[j] += scale * values[j]


@jit_fused
def add_pairs(pre_trace, post_trace, pre_gain, post_gain, scale, first, stop, potentiation_OI, depression_IO):
    """Add the pairs of rows ``first`` to ``stop``, weighted with ``scale [T, B]``."""
    num_steps, _, num_pre = pre_trace.shape
    num_post = post_trace.shape[2]
    for t in range(num_steps):
        for b in range(first, stop):
            weight = scale[t, b]
            if weight == 0:
                continue
            for o in range(num_post):
                gain = post_gain[t, b, o]
                if gain != 0:
                    _add(weight * gain, pre_trace[t, b], potentiation_OI[o])
            for i in range(num_pre):
                gain = pre_gain[t, b, i]
                if gain != 0:
                    _add(weight * gain, post_trace[t, b], depression_IO[i])


@jit_fused
def _list_spikes(gains, starts, where):
    """Sparse rows of ``gains [T, B, O]``: row r has its neurons in ``where[starts[r] : starts[r + 1]]``."""
    num_steps, batch, num_neurons = gains.shape
    count = 0
    for t in range(num_steps):
        for b in range(batch):
            starts[t * batch + b] = count
            for n in range(num_neurons):
                if gains[t, b, n] != 0:
                    where[count] = n
                    count += 1
    starts[num_steps * batch] = count


@jit_fused
def online_soft(weights, pre_trace, post_trace, pre_gain, post_gain, low, high, scale):
    """Change ``weights [I, O]`` step by step, with soft bounds, where each change depends on the weight before it."""
    num_steps, batch, num_pre = pre_trace.shape
    num_post = post_trace.shape[2]
    scale = weights.dtype.type(scale)
    starts = np.empty(num_steps * batch + 1, np.int64)
    where = np.empty(np.count_nonzero(post_gain), np.int64)
    _list_spikes(post_gain, starts, where)
    up, down = np.zeros(num_post, weights.dtype), np.zeros(num_post, weights.dtype)
    for i in range(num_pre):
        w, lowest, highest = weights[i], low[i], high[i]
        for t in range(num_steps):
            changed = False
            for b in range(batch):
                x, d, row = scale * pre_trace[t, b, i], scale * pre_gain[t, b, i], t * batch + b
                if x != 0 and starts[row] < starts[row + 1]:
                    changed = True
                    for k in range(starts[row], starts[row + 1]):
                        up[where[k]] += x * post_gain[t, b, where[k]]
                if d != 0:
                    changed = True
                    _add(d, post_trace[t, b], down)
            if changed:
                for o in range(num_post):
                    change = (highest - w[o]) * up[o] - (w[o] - lowest) * down[o]
                    w[o] = min(max(w[o] + change, lowest), highest)
                up[:] = 0
                down[:] = 0


@jit_fused
def _mix(gains, rows, out):
    """``out = gains @ rows``, four rows at a time."""
    count, size = rows.shape
    out[:] = 0
    b = 0
    while b + 4 <= count:
        g0, g1, g2, g3 = gains[b], gains[b + 1], gains[b + 2], gains[b + 3]
        r0, r1, r2, r3 = rows[b], rows[b + 1], rows[b + 2], rows[b + 3]
        for o in range(size):
            out[o] += (g0 * r0[o] + g1 * r1[o]) + (g2 * r2[o] + g3 * r3[o])
        b += 4
    while b < count:
        _add(gains[b], rows[b], out)
        b += 1


@jit_fused
def online_soft_eligibility(
    weights, eligibility, pre_trace, post_trace, pre_gain, post_gain, modulator, decay, mask, low, high, scale
):  # fmt: skip
    """Change ``weights [I, O]`` and ``eligibility [B, I, O]`` step by step; a row of both stays in the cache."""
    num_steps, batch, num_pre = pre_trace.shape
    num_post = post_trace.shape[2]
    scale, decay = weights.dtype.type(scale), weights.dtype.type(decay)
    starts = np.empty(num_steps * batch + 1, np.int64)
    where = np.empty(np.count_nonzero(post_gain), np.int64)
    _list_spikes(post_gain, starts, where)
    # The trace is kept as trace / shrunk, which decays by itself; it is brought back before numbers grow large.
    traces, change = np.empty((batch, num_post), weights.dtype), np.zeros(num_post, weights.dtype)
    gains = np.empty(batch, weights.dtype)
    one = weights.dtype.type(1)
    for i in range(num_pre):
        w, lowest, highest = weights[i], low[i], high[i]
        traces[:] = eligibility[:, i]
        shrunk = one
        for t in range(num_steps):
            shrunk *= decay
            if shrunk < _LEAST:
                for b in range(batch):
                    for o in range(num_post):
                        traces[b, o] *= shrunk
                shrunk = one
            is_modulated = False
            for b in range(batch):
                e, row = traces[b], t * batch + b
                if mask.size > 0 and mask[t, b]:
                    e[:] = 0
                x, d = pre_trace[t, b, i], pre_gain[t, b, i]
                if x != 0:
                    for k in range(starts[row], starts[row + 1]):
                        o = where[k]
                        e[o] += x * post_gain[t, b, o] / shrunk * (highest - w[o])
                if d != 0:
                    y = post_trace[t, b]
                    for o in range(num_post):
                        e[o] -= d / shrunk * y[o] * (w[o] - lowest)
                gains[b] = scale * shrunk * modulator[t, b]
                is_modulated |= gains[b] != 0
            if is_modulated:
                _mix(gains, traces, change)
                for o in range(num_post):
                    w[o] = min(max(w[o] + change[o], lowest), highest)
        for b in range(batch):
            for o in range(num_post):
                eligibility[b, i, o] = traces[b, o] * shrunk
