"""Compiled matrix products for layers of some tens of neurons: dense, and event-driven where one side is spikes.

``index`` holds which neurons fired, ``count`` how many they are; ``rows`` is a matrix, row by row.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from synrl_ray.compiled import jit, jit_fused, jit_reordered


@jit_reordered
def dot(left, i, right, j, num):
    """Inner product of row ``i`` of ``left`` and row ``j`` of ``right``, in any order."""
    total = left.dtype.type(0)
    for n in range(num):
        total += left[i, n] * right[j, n]
    return total


@jit
def events(u, theta, b, num, index):
    """Write which of the first ``num`` neurons of row ``b`` fire; return how many they are. Free of branches."""
    count = 0
    for i in range(num):
        index[count] = i
        count += u[b, i] > theta[b, i]
    return count


@jit
def add_rows(index, count, rows, num, out, b):
    """Add the rows that ``index`` names to row ``b`` of ``out``, four at a time."""
    j = 0
    while j + 4 <= count:
        r0, r1, r2, r3 = index[j], index[j + 1], index[j + 2], index[j + 3]
        for n in range(num):
            out[b, n] += (rows[r0, n] + rows[r1, n]) + (rows[r2, n] + rows[r3, n])
        j += 4
    while j < count:
        r0 = index[j]
        for n in range(num):
            out[b, n] += rows[r0, n]
        j += 1


@jit
def add_to_rows(index, count, values, b, num, rows):
    """Add row ``b`` of ``values`` to the rows that ``index`` names."""
    for j in range(count):
        r = index[j]
        for n in range(num):
            rows[r, n] += values[b, n]


@jit_fused
def combine(coefficients, num_rows, rows, num, out):
    """``out = sum_r coefficients[r] * rows[r]``, four rows at a time."""
    for i in range(num):
        out[i] = 0
    r = 0
    while r + 4 <= num_rows:
        c0, c1, c2, c3 = coefficients[r], coefficients[r + 1], coefficients[r + 2], coefficients[r + 3]
        for i in range(num):
            out[i] += (c0 * rows[r, i] + c1 * rows[r + 1, i]) + (c2 * rows[r + 2, i] + c3 * rows[r + 3, i])
        r += 4
    while r < num_rows:
        c = coefficients[r]
        for i in range(num):
            out[i] += c * rows[r, i]
        r += 1


@jit_fused
def combine_four(values, num_rows, rows, num, out):
    """:func:`combine` for four rows of coefficients at once: each of ``rows`` is loaded a fourth as often."""
    out[:4, :num] = 0
    r = 0
    while r + 4 <= num_rows:
        a0, a1, a2, a3 = values[0, r], values[0, r + 1], values[0, r + 2], values[0, r + 3]
        b0, b1, b2, b3 = values[1, r], values[1, r + 1], values[1, r + 2], values[1, r + 3]
        c0, c1, c2, c3 = values[2, r], values[2, r + 1], values[2, r + 2], values[2, r + 3]
        d0, d1, d2, d3 = values[3, r], values[3, r + 1], values[3, r + 2], values[3, r + 3]
        for i in range(num):
            w0, w1, w2, w3 = rows[r, i], rows[r + 1, i], rows[r + 2, i], rows[r + 3, i]
            out[0, i] += (a0 * w0 + a1 * w1) + (a2 * w2 + a3 * w3)
            out[1, i] += (b0 * w0 + b1 * w1) + (b2 * w2 + b3 * w3)
            out[2, i] += (c0 * w0 + c1 * w1) + (c2 * w2 + c3 * w3)
            out[3, i] += (d0 * w0 + d1 * w1) + (d2 * w2 + d3 * w3)
        r += 4
    while r < num_rows:
        for b in range(4):
            c = values[b, r]
            for i in range(num):
                out[b, i] += c * rows[r, i]
        r += 1


@jit
def matmul(values, num_rows, rows, num, out):
    """``out[b] = sum_r values[b, r] * rows[r]`` for every row b."""
    b = 0
    while b + 4 <= values.shape[0]:
        combine_four(values[b : b + 4], num_rows, rows, num, out[b : b + 4])
        b += 4
    while b < values.shape[0]:
        combine(values[b], num_rows, rows, num, out[b])
        b += 1


@jit
def add_outer(values, num_rows, others, b, num, rows):
    """``rows[r] += values[b, r] * others[b]``."""
    for r in range(num_rows):
        c = values[b, r]
        for n in range(num):
            rows[r, n] += c * others[b, n]
