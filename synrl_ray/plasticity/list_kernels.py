"""Compiled lists of presynaptic spikes, and what their postsynaptic partners bring to each step.

Legend: T simulation steps, B batch, I pre, O post, N neurons. An empty array means that there is none. A ``layer`` is
(decay of the trace, decay of the slow trace, amplitude, amplitude per unit of the slow trace).
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit_fused


@jit_fused
def move_trace(spikes, trace, keep, nearest, before):
    """One step of a trace ``[N]``; ``before`` is what its spikes meet."""
    for n in range(trace.size):
        left, spike = keep * trace[n], spikes[n]
        before[n] = left
        trace[n] = spike if nearest and spike != 0 else left + spike


@jit_fused
def list_spikes(spikes, traces, slow, layer, nearest, mask, starts, step, rise, fall):
    """List the spikes of each row by neuron, from ``starts [B, I + 1]``: step, rise of the trace, its depression.

    ``traces`` and ``slow`` ``[B, I]`` move to the last step. Returns false if there are more spikes than room for them.
    """
    num_steps, batch, num_pre = spikes.shape
    kind = rise.dtype.type
    gain, slow_gain = kind(layer[2]), kind(layer[3])
    before, slow_before = np.zeros_like(traces[0]), np.zeros_like(traces[0])
    neurons, steps = np.empty(num_steps * num_pre + 1, np.int32), np.empty(num_steps * num_pre, np.int32)
    rises, falls = np.empty(num_steps * num_pre, rise.dtype), np.empty(num_steps * num_pre, rise.dtype)
    total = 0
    for b in range(batch):
        found = 0
        for t in range(num_steps):
            fired, kept = spikes[t, b], 0.0 if mask.size > 0 and mask[t, b] else 1.0
            move_trace(fired, traces[b], kind(kept * layer[0]), nearest, before)
            if slow.size > 0:
                move_trace(fired, slow[b], kind(kept * layer[1]), nearest, slow_before)
            first = found
            for i in range(num_pre):  # without a branch to guess: the next neuron overwrites a silent one
                neurons[found] = i
                found += fired[i] != 0
            for k in range(first, found):
                i = neurons[k]
                steps[k] = t
                rises[k] = fired[i] - before[i] if nearest else fired[i]
                falls[k] = fired[i] * (gain + slow_gain * slow_before[i])
        if total + found > step.size:
            return False
        place = starts[b]
        place[:] = 0
        for k in range(found):
            place[neurons[k] + 1] += 1
        place[0] = total
        for i in range(num_pre):
            place[i + 1] += place[i]
        for k in range(found):  # moves every start to its end, the next neuron's start
            at = place[neurons[k]]
            step[at], rise[at], fall[at] = steps[k], rises[k], falls[k]
            place[neurons[k]] = at + 1
        for i in range(num_pre, 0, -1):
            place[i] = place[i - 1]
        place[0] = total
        total += found
    return True


@jit_fused
def post_factors(spikes, b, trace, slow, layer, nearest, mask, after, gains):
    """Fill row b's post trace and potentiation ``[T, O]``; ``trace`` and ``slow`` ``[O]`` move to the last step.

    Without a slow trace ``gains`` is left alone: potentiation is in proportion to the spikes.
    """
    kind = trace.dtype.type
    gain, slow_gain = kind(layer[2]), kind(layer[3])
    before = np.zeros_like(trace)
    for t in range(spikes.shape[0]):
        fired, kept = spikes[t, b], 0.0 if mask.size > 0 and mask[t, b] else 1.0
        move_trace(fired, trace, kind(kept * layer[0]), nearest, before)
        after[t] = trace
        if slow.size > 0:
            move_trace(fired, slow, kind(kept * layer[1]), nearest, before)
            for o in range(trace.size):
                gains[t, 0, o] = fired[o] * (gain + slow_gain * before[o])
