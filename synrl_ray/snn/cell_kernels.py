"""Compiled steps of the LIF scan on a block of cells, each one contiguous loop that LLVM vectorises.

Equations: :mod:`synrl_ray.snn.scan`. All arguments are vectors of the block's length unless they are numbers.
``reset``: see ``RESET_CODES``; ``kind``: see ``SURROGATE_CODES``.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

from synrl_ray.compiled import jit

RESET_CODES = {"none": 0, "subtract": 1, "zero": 2}
SURROGATE_CODES = {"fast_sigmoid": 0, "atan": 1, "sigmoid": 2, "straight_through": 3, "triangle": 4, "box": 5}


@jit
def copy(values, out):
    """``out = values``."""
    for j in range(out.size):
        out[j] = values[j]


@jit
def add(values, total):
    """``total += values``."""
    for j in range(total.size):
        total[j] += values[j]


@jit
def subtract(values, total):
    """``total -= values``."""
    for j in range(total.size):
        total[j] -= values[j]


@jit
def fire(u, theta, fired):
    """Spikes of the membranes ``u``, as ones and zeros."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(u.size):
        fired[j] = one if u[j] > theta[j] else zero


@jit
def fire_and_keep(u, theta, membranes, fired):
    """:func:`fire`, and a copy of ``u`` on the way."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(u.size):
        membranes[j] = u[j]
        fired[j] = one if u[j] > theta[j] else zero


@jit
def integrate(drive, bias, decay, theta, reset, u):
    """One step of the membrane ``u`` in place; whether it is reset follows from ``u`` itself."""
    zero = u.dtype.type(0)
    if reset == 1:
        for j in range(u.size):
            u[j] = decay[j] * u[j] + (drive[j] + bias[j]) - (theta[j] if u[j] > theta[j] else zero)
    elif reset == 2:
        for j in range(u.size):
            u[j] = (zero if u[j] > theta[j] else decay[j] * u[j]) + (drive[j] + bias[j])
    else:
        for j in range(u.size):
            u[j] = decay[j] * u[j] + (drive[j] + bias[j])


@jit
def pool(u, theta, weight, is_first, total):
    """``total += weight * spikes``, from nothing at the first step."""
    zero = u.dtype.type(0)
    if is_first:
        for j in range(u.size):
            total[j] = weight if u[j] > theta[j] else zero
    else:
        for j in range(u.size):
            total[j] += weight if u[j] > theta[j] else zero


@jit
def add_through_spike(grad, scale, u, theta, kind, slope, total):
    """``total += scale * dL/ds * sigma'(u - theta)``.

    ``slope`` comes in double precision, so that ``1 / slope`` is rounded once, to what torch compares with.
    """
    one, half, half_pi = u.dtype.type(1), u.dtype.type(0.5), u.dtype.type(math.pi / 2)
    zero, k, width = u.dtype.type(0), u.dtype.type(slope), u.dtype.type(1.0 / slope)
    if kind == 0:
        for j in range(u.size):
            d = one + k * abs(u[j] - theta[j])
            total[j] += scale * grad[j] / (d * d)
    elif kind == 1:
        for j in range(u.size):
            d = half_pi * k * (u[j] - theta[j])
            total[j] += scale * grad[j] * half * k / (one + d * d)
    elif kind == 2:
        for j in range(u.size):
            y = one / (one + math.exp(-k * (u[j] - theta[j])))
            total[j] += scale * grad[j] * k * y * (one - y)
    elif kind == 3:
        for j in range(u.size):
            total[j] += scale * grad[j] * k
    elif kind == 4:
        square = k * k
        for j in range(u.size):
            inside = width - abs(u[j] - theta[j])
            total[j] += scale * grad[j] * square * (inside if inside > zero else zero)
    else:
        height = half * k
        for j in range(u.size):
            total[j] += scale * grad[j] * (height if abs(u[j] - theta[j]) < width else zero)


@jit
def carry_back(fired, decay, reset, g):
    """Carry ``g`` over one step, in place."""
    one = g.dtype.type(1)
    if reset == 2:
        for j in range(g.size):
            g[j] *= decay[j] * (one - fired[j])
    else:
        for j in range(g.size):
            g[j] *= decay[j]


@jit
def collect(g, before, fired, reset, beta_sum, theta_sum):
    """What ``beta`` and ``threshold`` receive from one step."""
    one = g.dtype.type(1)
    if reset == 2:
        for j in range(g.size):
            beta_sum[j] += g[j] * before[j] * (one - fired[j])
    else:
        for j in range(g.size):
            beta_sum[j] += g[j] * before[j]
    if reset == 1:
        for j in range(g.size):
            theta_sum[j] -= g[j] * fired[j]
