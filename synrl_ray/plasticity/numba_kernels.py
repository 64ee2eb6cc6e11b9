"""Compiled CPU kernels of plasticity: one call a fragment, without the GIL. Traces and sums over pairs of spikes.

Spikes are rare, so the work goes where a spike is. A presynaptic spike changes a row of weights, a postsynaptic one a
column; columns are kept as rows of a transposed sum, so that both are contiguous loops that LLVM vectorises.

Legend: T simulation steps, B batch, I pre, O post, N neurons. An empty mask means that there is none.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from synrl_ray.compiled import jit_fused


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
