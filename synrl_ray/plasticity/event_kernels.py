r"""Compiled sums over spikes, for layers that are mostly silent: only a presynaptic spike costs a row of weights.

A presynaptic trace is made of what it rose by at each spike, :math:`u`, decayed since. In another order of summation,

.. math:: \sum_t m_t\, x_{ti}\, p_{to} = \sum_s u_{si}\, Z_{so} + \lambda\, x_{-1,i}\, Z_{0o}, \qquad
          Z_t = m_t\, p_t + \lambda\, Z_{t+1} \quad\text{(cut at resets)}

so that potentiation is, as depression :math:`m_s\, d_{si}\, y_{so}` is, a vector of the step that is added to the rows
that spike. Where u and d are in proportion, one vector does for both.

Legend: T simulation steps, B batch, I pre, O post, N neurons. An empty array means that there is none; x, p, d and y
are those of :class:`~synrl_ray.plasticity.factors.Factors`.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from functools import partial

import numpy as np

from synrl_ray.compiled import jit_fused
from synrl_ray.plasticity.list_kernels import post_factors

jit_inlined = partial(jit_fused, forceinline=True)  # a call hands over so much that it costs more than a short row


@jit_fused
def later_sums(gains, row, gain, after, scale, b, decay, mask, share, total, vectors):
    """Fill ``vectors [T, O]`` with Z less ``share`` of the scaled post trace, and ``total [O]`` with Z of step 0.

    Potentiation p is ``gain`` times ``gains [T, :, O]`` in ``row``. Returns the first step, and the one after the last,
    where anything may be other than zero.
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
        part, amplitude = weight * share, weight * gain
        for o in range(total.size):
            later = amplitude * gains[t, row, o] + keep * total[o]
            total[o] = later
            vectors[t, o] = later - part * after[t, o]
    return low, high


@jit_inlined
def add_scaled(values, at, factor, out, i):
    """``out[i] += factor * values[at]``; rows by index, because a view costs as much as a short row."""
    for o in range(out.shape[1]):
        out[i, o] += factor * values[at, o]


@jit_inlined
def add_spikes(start, stop, step, amount, vectors, out, i):
    """``out[i] += amount[k] * vectors[step[k]]`` for the spikes from ``start`` to ``stop``, four at a time."""
    k = start
    while k + 4 <= stop:
        c0, c1, c2, c3 = amount[k], amount[k + 1], amount[k + 2], amount[k + 3]
        t0, t1, t2, t3 = step[k], step[k + 1], step[k + 2], step[k + 3]
        for o in range(out.shape[1]):
            out[i, o] += c0 * vectors[t0, o] + c1 * vectors[t1, o] + c2 * vectors[t2, o] + c3 * vectors[t3, o]
        k += 4
    while k < stop:
        add_scaled(vectors, step[k], amount[k], out, i)
        k += 1


@jit_fused
def add_rows(lists, b, lead, apart, room, scale, window, vectors, total, after, amount, out):
    """Add row b's spikes in the ``window`` of steps, and the traces ``lead [I]`` it came with, to ``out [I, O]``.

    ``apart`` says that depression is not in ``vectors``. ``room [2, I, O]`` scales potentiation and depression, where
    there is any.
    """
    starts, step, rise, fall = lists
    num_pre, num_post = out.shape
    terms = np.empty((2, num_post), out.dtype)
    for i in range(num_pre):
        start, stop = starts[b, i], starts[b, i + 1]
        while start < stop and step[start] < window[0]:
            start += 1
        while start < stop and step[stop - 1] >= window[1]:
            stop -= 1
        if start == stop and lead[i] == 0:
            continue
        if apart:
            for k in range(start, stop):
                amount[k] = -fall[k] * scale[step[k], b]
        if room.size == 0:
            add_scaled(total, 0, lead[i], out, i)
            add_spikes(start, stop, step, rise, vectors, out, i)
            if apart:
                add_spikes(start, stop, step, amount, after, out, i)
        else:
            terms[:] = 0
            add_scaled(total, 0, lead[i], terms, 0)
            add_spikes(start, stop, step, rise, vectors, terms, 0)
            add_spikes(start, stop, step, amount, after, terms, 1)
            for o in range(num_post):
                out[i, o] += room[0, i, o] * terms[0, o] + room[1, i, o] * terms[1, o]


@jit_fused
def sum_spikes(
    lists, traces, pre_decay, post, post_traces, post_slow, post_layer, nearest, mask, apart, share, room,
    scale, kept, left, kept_left, past, delta, final,
):  # fmt: skip
    """Add to ``delta [I, O]`` the spikes of all rows by ``scale [T, B]``, and ``kept [B]`` times ``past [B, I, O]``.

    Fill ``final [B, I, O]`` with the same of each row by ``left`` and ``kept_left``. ``traces [B, I]`` are those before
    the first step.
    """
    num_steps, batch, num_post = post.shape
    kind = delta.dtype.type
    after, gains = np.empty((num_steps, num_post), delta.dtype), np.empty((num_steps, 1, num_post), delta.dtype)
    vectors, total, lead = np.empty_like(after), np.empty((1, num_post), delta.dtype), np.empty_like(traces[0])
    amount = np.empty_like(lists[3])
    for b in range(batch):
        slow = post_slow[b] if post_slow.size > 0 else lead[:0]
        post_factors(post, b, post_traces[b], slow, post_layer, nearest, mask, after, gains)
        potentiation, row, gain = (gains, 0, kind(1)) if slow.size > 0 else (post, b, kind(post_layer[2]))
        first_decay = kind(0.0 if mask.size > 0 and mask[0, b] else pre_decay)
        for of_row in range(2 if final.size > 0 else 1):  # for the weights, then for the row's eligibility
            weight, share_kept, out = (left, kept_left[b], final[b]) if of_row else (scale, kept[b], delta)
            window = later_sums(potentiation, row, gain, after, weight, b, pre_decay, mask, share, total[0], vectors)
            lead[:] = (first_decay if total.any() else kind(0)) * traces[b]
            if of_row:
                out[:] = 0
            if share_kept != 0:  # a pass of its own: memory is read fastest in one go
                for i in range(out.shape[0]):
                    add_scaled(past[b], i, share_kept, out, i)
            if window[1] > 0:
                add_rows(lists, b, lead, apart, room, weight, window, vectors, total, after, amount, out)
