r"""Compiled sums over spikes, for layers that are mostly silent: only a presynaptic spike costs a row of weights.

A presynaptic trace is made of what it rose by at each spike, :math:`u`, decayed since. In another order of summation,

.. math:: \sum_t m_t\, x_{ti}\, p_{to} = \sum_s u_{si}\, Z_{so} + \lambda\, x_{-1,i}\, Z_{0o}, \qquad
          Z_t = m_t\, p_t + \lambda\, Z_{t+1} \quad\text{(cut at resets)}

so that potentiation is, as depression is, a vector that is computed once a step, added to the rows that spike. Where
rises and amplitudes of depression are in proportion, one vector does for both.

Legend: T simulation steps, B batch, I pre, O post, N neurons. An empty array means that there is none. A ``layer`` is
(decay of the trace, decay of the slow trace, amplitude, amplitude per slow trace), see
:class:`~synrl_ray.plasticity.factors.Factors`.
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
    """Fill row b's post trace and potentiation ``[T, O]``; ``trace`` and ``slow`` ``[O]`` move to the last step."""
    kind = trace.dtype.type
    gain, slow_gain = kind(layer[2]), kind(layer[3])
    before, slow_before = np.zeros_like(trace), np.zeros_like(trace)
    for t in range(spikes.shape[0]):
        fired, kept = spikes[t, b], 0.0 if mask.size > 0 and mask[t, b] else 1.0
        move_trace(fired, trace, kind(kept * layer[0]), nearest, before)
        if slow.size > 0:
            move_trace(fired, slow, kind(kept * layer[1]), nearest, slow_before)
        after[t] = trace
        for o in range(trace.size):
            gains[t, o] = fired[o] * (gain + slow_gain * slow_before[o])


@jit_fused
def later_sums(gains, after, scale, b, decay, mask, share, total, vectors):
    """Fill ``vectors [T, O]`` with Z less ``share`` of the scaled post trace, and ``total [O]`` with Z of step 0.

    Returns the first and last + 1 of the steps where they may be other than zero.
    """
    num_steps = gains.shape[0]
    keep, low, high = total.dtype.type(decay), 0, 0
    for t in range(num_steps - 1, -1, -1):
        if t + 1 == num_steps or (mask.size > 0 and mask[t + 1, b]):
            total[:] = 0
            alive = False
        weight = scale[t, b]
        alive = alive or weight != 0
        if not alive:
            vectors[t] = 0
            continue
        low, high = t, max(high, t + 1)
        part = weight * share
        for o in range(total.size):
            later = weight * gains[t, o] + keep * total[o]
            total[o] = later
            vectors[t, o] = later - part * after[t, o]
    return low, high


@jit_fused
def add_spikes(row, step, amount, vectors):
    """``row += amount[k] * vectors[step[k]]`` for every spike k, four at a time."""
    k = 0
    while k + 4 <= step.size:
        c0, c1, c2, c3 = amount[k], amount[k + 1], amount[k + 2], amount[k + 3]
        t0, t1, t2, t3 = step[k], step[k + 1], step[k + 2], step[k + 3]
        for o in range(row.size):
            row[o] += c0 * vectors[t0, o] + c1 * vectors[t1, o] + c2 * vectors[t2, o] + c3 * vectors[t3, o]
        k += 4
    while k < step.size:
        c0, t0 = amount[k], step[k]
        for o in range(row.size):
            row[o] += c0 * vectors[t0, o]
        k += 1


@jit_fused
def add_rows(lists, b, lead, potentiate, depress, scale, window, vectors, total, after, out):
    """Add row b's spikes in the ``window`` of steps, and the traces ``lead [I]`` it came with, to ``out [I, O]``."""
    starts, step, rise, fall = lists
    amount = np.empty(vectors.shape[0], rise.dtype)
    for i in range(out.shape[0]):
        row, start, stop = out[i], starts[b, i], starts[b, i + 1]
        while start < stop and step[start] < window[0]:
            start += 1
        while start < stop and step[stop - 1] >= window[1]:
            stop -= 1
        if potentiate:
            if lead[i] != 0:
                for o in range(row.size):
                    row[o] += lead[i] * total[o]
            add_spikes(row, step[start:stop], rise[start:stop], vectors)
        if depress:
            for k in range(start, stop):
                amount[k - start] = -fall[k] * scale[step[k], b]
            add_spikes(row, step[start:stop], amount, after)


@jit_fused
def sum_spikes(
    lists, traces, pre_decay, post, post_traces, post_slow, post_layer, nearest, mask, potentiate, depress, share,
    scale, kept, left, kept_left, eligibility, delta, final,
):  # fmt: skip
    """Add to ``delta [I, O]`` the spikes of all rows by ``scale [T, B]`` and ``kept [B]`` times the eligibility.

    Fill ``final [B, I, O]`` with the same of each row by ``left`` and ``kept_left``. ``traces [B, I]`` are those before
    the first step.
    """
    num_steps, batch, num_post = post.shape
    after, gains = np.empty((num_steps, num_post), delta.dtype), np.empty((num_steps, num_post), delta.dtype)
    vectors, total, lead = np.empty_like(after), np.empty_like(delta[0]), np.empty_like(traces[0])
    for b in range(batch):
        slow = post_slow[b] if post_slow.size > 0 else post_slow.ravel()
        post_factors(post, b, post_traces[b], slow, post_layer, nearest, mask, after, gains)
        lead[:] = delta.dtype.type(0.0 if mask.size > 0 and mask[0, b] else pre_decay) * traces[b]
        window = later_sums(gains, after, scale, b, pre_decay, mask, share, total, vectors)
        if kept[b] != 0:
            add_scaled(eligibility[b], kept[b], delta)
        if window[1] > 0:
            add_rows(lists, b, lead, potentiate, depress, scale, window, vectors, total, after, delta)
        if final.size > 0:
            window = later_sums(gains, after, left, b, pre_decay, mask, share, total, vectors)
            final[b] = 0
            if kept_left[b] != 0:
                add_scaled(eligibility[b], kept_left[b], final[b])
            add_rows(lists, b, lead, potentiate, depress, left, window, vectors, total, after, final[b])


@jit_fused
def add_scaled(values, factor, total):
    """``total += factor * values``."""
    for i in range(total.shape[0]):
        for o in range(total.shape[1]):
            total[i, o] += factor * values[i, o]
