"""Compiled CPU kernels of plasticity: one call a fragment, without the GIL. Traces and discounted sums.

Legend: T simulation steps, B batch, N neurons. An empty mask means that there is none.
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
