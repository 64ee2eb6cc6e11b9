"""Compiled passes of Hebbian networks; rows never influence each other, nor the order in which sums are taken.

Legend: N rows, G genomes, C coefficients, W synapses of all layers, U units of all layers, inputs first. Layers lie
behind one another; the weights of one are ``[O, I]``. ``source [N]`` says whose weights a row has.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import numpy as np

from synrl_ray.compiled import jit_reordered

MOST = np.float32(1e4)
"""The largest weight where weights are not normalised, so that none overflows."""


@jit_reordered
def _drive(weights, at, num_pre, activity, first):
    """The current into one unit."""
    total = np.float32(0)
    for i in range(num_pre):
        total += weights[at + i] * activity[first + i]
    return total


@jit_reordered
def act_in_rates(sizes, weights, source, activity):
    """Fill ``activity [N, U]``, whose inputs are given, with hyperbolic tangents."""
    for n in range(activity.shape[0]):
        own, units = weights[source[n]], activity[n]
        first, at = 0, 0
        for layer in range(sizes.size - 1):
            num_pre, behind = sizes[layer], first + sizes[layer]
            for o in range(sizes[layer + 1]):
                units[behind + o] = math.tanh(_drive(own, at, num_pre, units, first))
                at += num_pre
            first = behind


@jit_reordered
def act_in_spikes(sizes, weights, source, activity, neurons, traces, pairs):
    """The same of neurons that are simulated from rest, as means over the simulation steps.

    Args:
        sizes: of the layers.
        weights, source, activity: as above.
        neurons: simulation steps, decay of membranes, threshold, decays of the pre- and the postsynaptic trace.
        traces: ``[N, 2, U]``, pre- and postsynaptic; changed. None, ``[0, 2, U]``, where nothing is plastic.
        pairs: ``[N, W]``, filled with what STDP makes of each synapse. A presynaptic trace is met by the postsynaptic
            spikes of its own step, which it may have caused; a postsynaptic one by later spikes only.
    """
    num_steps = int(neurons[0])
    beta, threshold, keep_pre, keep_post = neurons[1], neurons[2], neurons[3], neurons[4]
    num_layers, num_units, learns = sizes.size - 1, activity.shape[1], traces.shape[0] > 0
    last, share = num_units - sizes[-1], np.float32(1.0 / num_steps)
    membranes, now = np.empty(num_units, np.float32), np.empty(num_units, np.float32)
    for n in range(activity.shape[0]):
        own, units = weights[source[n]], activity[n]
        now[: sizes[0]] = units[: sizes[0]]
        membranes[:] = 0
        units[sizes[0] :] = 0
        if learns:
            pairs[n] = 0
        for _ in range(num_steps):
            first, at = 0, 0
            for layer in range(num_layers):
                num_pre, behind = sizes[layer], first + sizes[layer]
                for o in range(behind, behind + sizes[layer + 1]):
                    membranes[o] = beta * membranes[o] + _drive(own, at, num_pre, now, first)
                    at += num_pre
                    if o >= last:
                        now[o] = math.tanh(membranes[o])
                    else:
                        now[o] = 1.0 if membranes[o] > threshold else 0.0
                        membranes[o] -= threshold * now[o]
                    units[o] += share * now[o]
                first = behind
            if learns:
                before, after = traces[n, 0], traces[n, 1]
                for u in range(num_units):
                    before[u] = keep_pre * before[u] + now[u]
                    after[u] *= keep_post
                first, at = 0, 0
                for layer in range(num_layers):
                    num_pre, behind = sizes[layer], first + sizes[layer]
                    for o in range(behind, behind + sizes[layer + 1]):
                        post, met = share * now[o], share * after[o]
                        for i in range(num_pre):
                            pairs[n, at + i] += before[first + i] * post - met * now[first + i]
                        at += num_pre
                    first = behind
                for u in range(num_units):
                    after[u] += now[u]


@jit_reordered
def change(sizes, weights, coefficients, source, activity, pairs, normalise):
    """Change ``weights [N, W]`` by the rules ``coefficients [G, C, W]`` of their rows' genomes.

    The coefficients are A, B, C, D, the learning rate, and that of ``pairs`` where there are such.
    """
    for n in range(weights.shape[0]):
        own, units = weights[n], activity[n]
        a, b, c, d, rate = coefficients[source[n], :5]
        first, at = 0, 0
        for layer in range(sizes.size - 1):
            num_pre, behind, begin = sizes[layer], first + sizes[layer], at
            for o in range(sizes[layer + 1]):
                post = units[behind + o]
                for i in range(num_pre):
                    k, pre = at + i, units[first + i]
                    own[k] += rate[k] * (a[k] * pre * post + b[k] * pre + c[k] * post + d[k])
                at += num_pre
            if pairs.shape[0] > 0:
                timed = coefficients[source[n], 5]
                for k in range(begin, at):
                    own[k] += rate[k] * timed[k] * pairs[n, k]
            if normalise:
                largest = np.float32(0)
                for k in range(begin, at):
                    largest = max(largest, abs(own[k]))
                if largest > 0:
                    scale = np.float32(1) / largest
                    for k in range(begin, at):
                        own[k] *= scale
            else:
                for k in range(begin, at):
                    own[k] = min(max(own[k], -MOST), MOST)
            first = behind
