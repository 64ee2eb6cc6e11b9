"""Compiled products of spikes with weights: sums of the rows that the spikes name, whose cost is that of the spikes.

A row of spikes is the list of the neurons that fired, in their order. The N neurons of a layer are P pixels of C
channels each, one pixel where it is fully connected. ``index [R, N]`` holds the lists of R rows, ``ends [R, P + 1]``
where the part of each pixel ends, from 0 on; what lies behind the last end has no meaning.

Weights are ``[I, O]``, those of a convolution ``[kernel, kernel, C, O]`` as ``[I, O]``; a fully connected layer is a
convolution of one pixel. Outputs and their gradient ``g`` are ``[R, pixels * O]``. Where these vectors are whole,
see :func:`synrl_ray.snn.vectors.fits`; others are not for these kernels.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit
from synrl_ray.snn.vectors import add_to_listed, bits_above, count_bits, dot_pairs, lowest_bit, sum_listed

_AT_ONCE = 8  # elements of a list that are copied whether they are there or not


@jit
def _word(values, limits, at):
    """Which of the 64 values from ``at`` on are above their limits, as bits; those that there are."""
    if at + 64 <= values.size:
        return bits_above(values, limits, at)
    bits = np.uint64(0)
    for j in range(values.size - at):
        bits |= np.uint64(values[at + j] > limits[at + j]) << np.uint64(j)
    return bits


@jit
def _list_bits(bits, first, listed, count):
    """Append the positions of the bits, counted from ``first`` on; return how long the list is."""
    while bits:
        listed[count] = first + lowest_bit(bits)
        bits &= bits - np.uint64(1)
        count += 1
    return count


@jit
def list_fired(u, theta, first, num_neurons, index, ends):
    """Write the lists of the cells from ``first`` on, counted through all rows; parts of a row come in their order.

    Returns how many fired.
    """
    num_channels = num_neurons // (ends.shape[1] - 1)
    row, n, done = first // num_neurons, first % num_neurons, 0
    total = np.int64(0)
    while done < u.size:
        listed, own, num = index[row], ends[row], min(num_neurons - n, u.size - done)
        values, limits = u[done : done + num], theta[done : done + num]
        pixel = n // num_channels
        count = np.int64(own[pixel + 1] if n % num_channels else own[pixel] if n else 0)
        if n == 0:
            own[0] = 0
        total -= count
        stop = (pixel + 1) * num_channels - n
        for at in range(0, num, 64):
            bits = _word(values, limits, at)
            while stop <= min(at + 64, num):
                behind = np.uint64(max(64 - (stop - at), 0))
                own[pixel + 1] = count + count_bits(bits << behind) if stop > at else count
                pixel, stop = pixel + 1, stop + num_channels
            count = _list_bits(bits, n + at, listed, count)
        if pixel + 1 < own.size:
            own[pixel + 1] = count
        total += count
        row, n, done = row + 1, 0, done + num
    return total


@jit
def count_ones(values):
    """How many values are one; -1 if there are others than one and zero."""
    ones, others = 0, 0
    for j in range(values.size):
        ones += values[j] == 1
        others += (values[j] != 0) & (values[j] != 1)
    return -1 if others else ones


@jit
def spread(index, ends, first, num_cells, spikes):
    """Write the lists of so many cells from ``first`` on, which begins a row, as ones and zeros ``[R * N]``."""
    num_neurons = index.shape[1]
    num_channels = num_neurons // (ends.shape[1] - 1)
    spikes[first : first + num_cells] = 0
    for start in range(first, first + num_cells, num_neurons):
        row = start // num_neurons
        last = min(num_neurons, first + num_cells - start)
        for k in range(ends[row, (last - 1) // num_channels + 1]):
            spikes[start + index[row, k]] += 1


@jit
def relabel(index, ends, names, relabelled):
    """The lists with other names for the neurons."""
    for r in range(index.shape[0]):
        listed, own = index[r], relabelled[r]
        for k in range(ends[r, -1]):
            own[k] = names[listed[k]]


@jit
def list_at(when_EBF, num_steps, index, ends):
    """List spikes of which each comes once, at the step ``when``, or where that is -1 never."""
    num_observations, batch, num_features = when_EBF.shape
    ends[:] = 0
    for e in range(num_observations):
        for b in range(batch):
            for n in range(num_features):
                k = when_EBF[e, b, n]
                if k >= 0:
                    row = (e * num_steps + k) * batch + b
                    index[row, ends[row, 1]] = n
                    ends[row, 1] += 1


@jit
def _window(listed, ends, start, width, kernel, num_channels, window):
    """List the inputs of a window as rows of its weights; return how many they are.

    ``start`` is the first pixel of the window, ``width`` that of the map. There may be more than the window has inputs,
    for an event may come several times, but no more than a row has room for.
    """
    count = 0
    for y in range(kernel):
        first = start + y * width
        shift = (y * kernel - first) * num_channels
        begin, num = ends[first], ends[first + kernel] - ends[first]
        part, found = window[count:], listed[begin:]
        for j in range(min(_AT_ONCE, found.size)):
            part[j] = found[j] + shift
        for j in range(_AT_ONCE, num):
            part[j] = found[j] + shift
        count += num
    return count


@jit
def add_listed(index, ends, weight, out):
    """The sums of the listed rows of ``weight``."""
    flat, num_outputs = weight.reshape(-1), weight.shape[1]
    for r in range(out.shape[0]):
        sum_listed(out[r], 0, flat, index[r], ends[r, -1], num_outputs)


@jit
def convolve(index, ends, weight, width, kernel, stride, out_width, out):
    """The convolution of maps that are ``width`` wide, without padding."""
    num_outputs, num_channels = weight.shape[1], weight.shape[0] // kernel**2
    flat, window = weight.reshape(-1), np.empty(index.shape[1] + _AT_ONCE, np.int32)
    for r in range(out.shape[0]):
        for p in range(out.shape[1] // num_outputs):
            start = (p // out_width * width + p % out_width) * stride
            count = _window(index[r], ends[r], start, width, kernel, num_channels, window)
            sum_listed(out[r], p * num_outputs, flat, window, count, num_outputs)


@jit
def kernel_gradient(index, ends, g, width, kernel, stride, out_width, grad):
    """Add to ``grad [I, O]`` the gradient of a convolution's weights."""
    num_outputs, num_channels = grad.shape[1], grad.shape[0] // kernel**2
    flat, window = grad.reshape(-1), np.empty(index.shape[1] + _AT_ONCE, np.int32)
    for r in range(g.shape[0]):
        for p in range(g.shape[1] // num_outputs):
            start = (p // out_width * width + p % out_width) * stride
            count = _window(index[r], ends[r], start, width, kernel, num_channels, window)
            add_to_listed(flat, window, count, g[r], p * num_outputs, num_outputs)


@jit
def transpose(index, ends, order, starts):
    """The lists by neuron: ``order[starts[i]:starts[i + 1]]`` are the rows in which neuron ``i`` fired."""
    num_inputs = starts.size - 1
    starts[:] = 0
    for r in range(ends.shape[0]):
        listed = index[r]
        for k in range(ends[r, -1]):
            starts[listed[k] + 1] += 1
    for i in range(num_inputs):
        starts[i + 1] += starts[i]
    for r in range(ends.shape[0]):
        listed = index[r]
        for k in range(ends[r, -1]):
            i = listed[k]
            order[starts[i]] = r
            starts[i] += 1
    for i in range(num_inputs, 0, -1):
        starts[i] = starts[i - 1]
    starts[0] = 0


@jit
def weight_gradient(order, starts, g, grad):
    """``grad [I, O]`` of a fully connected layer: each row once, the sum of the rows of ``g`` in which it fired."""
    flat, num_outputs = g.reshape(-1), grad.shape[1]
    for i in range(grad.shape[0]):
        sum_listed(grad[i], 0, flat, order[starts[i] :], starts[i + 1] - starts[i], num_outputs)


@jit
def share_near(u, theta, width, step):
    """Which share of the membranes ``[R, N]`` is nearer to its threshold than ``width``, in every so many rows."""
    total = 0
    for r in range(0, u.shape[0], step):
        near = 0
        for n in range(theta.size):
            near += abs(u[r, n] - theta[n]) < width
        total += near
    return total / max(1, (u.shape[0] + step - 1) // step * u.shape[1])


@jit
def input_gradient(g, weight, u, theta, width, pairs, g_starts, weight_starts, channel_step, out):
    """``out [R, N]``: the gradient of the inputs whose membranes ``u`` are near their thresholds, for others zero.

    A pixel ``p`` is seen by the outputs from ``g_starts[k]`` on, through the weights of its first channel from
    ``weight_starts[k]`` on, with ``k`` from ``pairs[p]`` to before ``pairs[p + 1]``; those of the next channel lie
    ``channel_step`` further. The weights of a neuron serve 64 rows, by two, before those of the next are fetched.
    """
    num_outputs, num_channels = weight.shape[1], u.shape[1] // (pairs.size - 1)
    flat, near = weight.reshape(-1), np.empty(u.shape[1], np.uint64)
    gradients, num = g.reshape(-1), g.shape[1]
    for first in range(0, u.shape[0], 64):
        near[:] = 0
        for r in range(first, min(first + 64, u.shape[0])):
            row, bit = u[r], np.uint64(r - first)
            for n in range(near.size):
                near[n] |= np.uint64(abs(row[n] - theta[n]) < width) << bit
            out[r] = 0
        for n in range(near.size):
            bits, pixel = near[n], n // num_channels
            begin, end, shift = pairs[pixel], pairs[pixel + 1], n % num_channels * channel_step
            while bits:
                one = first + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                other = first + lowest_bit(bits) if bits else one
                bits &= bits - np.uint64(bits != 0)
                out[one, n], out[other, n] = dot_pairs(
                    gradients, one * num, other * num, g_starts, flat, weight_starts, shift, begin, end, num_outputs
                )
