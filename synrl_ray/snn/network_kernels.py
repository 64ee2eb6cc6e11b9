"""Compiled CPU kernels of a whole small feed-forward spiking network: one call forward, one call backward.

For layers of some tens of neurons the overhead of calls and the traffic between caches outweigh the arithmetic.
So a block of batch rows runs through all layers and all time steps while it stays in the first-level
cache, and between spiking layers the matrix product is event-driven: it adds the weights of the neurons that fired
and touches no others. Equations: :mod:`synrl_ray.snn.scan`.

Legend: E observations of K steps, T = E*K, B batch, L spiking layers, M the widest layer. Planes are padded to M
columns; the padding has decay 0, threshold 1 and no input, so it stays at rest. ``sizes`` is ``[L + 2]``: features,
neurons of the L layers, readout. ``where`` is ``[L, 6]``: in the flat parameters, the first element of a layer's
weight, bias, beta, threshold, and the lengths of the last two. The readout's weight and bias come first.
"""

# mypy: disallow-untyped-defs=False
# ruff: noqa: E741

from __future__ import annotations

import numpy as np

from synrl_ray.compiled import jit
from synrl_ray.snn.cell_kernels import (
    add,
    add_through_spike,
    carry_back,
    collect,
    copy,
    fire,
    integrate,
    pool,
    subtract,
)
from synrl_ray.snn.matmul_kernels import add_outer, add_rows, add_to_rows, dot, events, matmul

_CELLS = 1024


@jit
def _tile(parameters, start, length, num, width, out):
    """Repeat one value or ``num`` values of the parameters in every row of ``out``."""
    for n in range(num):
        out[n] = parameters[start + (n if length > 1 else 0)]
    for b in range(1, out.size // width):
        copy(out[:num], out[b * width : b * width + num])


@jit
def _weights(parameters, where, sizes, width, transposed):
    """Weights ``[L, M, M']`` with a row per neuron, or ``[L, M', M]`` transposed."""
    num_layers = where.shape[0]
    fan_in = max(width, sizes[0])
    shape = (num_layers, fan_in, width) if transposed else (num_layers, width, fan_in)
    out = np.zeros(shape, parameters.dtype)
    for l in range(num_layers):
        num_in = sizes[l]
        for n in range(sizes[l + 1]):
            start = where[l, 0] + n * num_in
            if transposed:
                for i in range(num_in):
                    out[l, i, n] = parameters[start + i]
            else:
                copy(parameters[start : start + num_in], out[l, n, :num_in])
    return out


@jit
def _tiles(parameters, where, sizes, width, rows):
    """Bias, decay and threshold of every cell in a block, ``[L, rows*M]`` each."""
    num_layers = where.shape[0]
    bias = np.zeros((num_layers, rows * width), parameters.dtype)
    decay = np.zeros((num_layers, rows * width), parameters.dtype)
    theta = np.ones((num_layers, rows * width), parameters.dtype)
    for l in range(num_layers):
        num = sizes[l + 1]
        _tile(parameters, where[l, 1], num, num, width, bias[l])
        _tile(parameters, where[l, 2], where[l, 4], num, width, decay[l])
        _tile(parameters, where[l, 3], where[l, 5], num, width, theta[l])
    return bias, decay, theta


@jit
def _rest_rows(mask, e, first, rows, width, values):
    for b in range(rows):
        if mask[e, first + b]:
            for j in range(b * width, (b + 1) * width):
                values[j] = 0


@jit
def _load(state, first, rows, column, num, width, out):
    for b in range(rows):
        for n in range(num):
            out[b * width + n] = state[first + b, column + n]


@jit
def _store(values, first, rows, column, num, width, state):
    for b in range(rows):
        for n in range(num):
            state[first + b, column + n] = values[b * width + n]


@jit
def forward(
    inputs_EBF, state_BS, mask_EB, parameters, where, sizes, resets, pool_K, bias_gain, readout_decay,
    membranes, outputs_EBO, final_BS,
):  # fmt: skip
    """Fill ``outputs``, ``final`` and ``membranes [T*L*B*M]``. May be empty: ``state``, ``mask``, ``membranes``."""
    num_observations, batch, num_features = inputs_EBF.shape
    num_layers, out_features, period = where.shape[0], sizes[-1], pool_K.size
    width = sizes[1:-1].max()
    num_last = sizes[-2]
    block = max(1, min(batch, _CELLS // width))
    dtype = parameters.dtype
    transposed = _weights(parameters, where, sizes, width, True)
    bias, decay, theta = _tiles(parameters, where, sizes, width, block)
    readout = parameters[: out_features * num_last].reshape(out_features, num_last)
    readout_bias = parameters[out_features * num_last : out_features * (num_last + 1)]
    u = np.empty((num_layers, block * width), dtype)
    drive, held = np.empty(block * width, dtype), np.empty(block * width, dtype)
    pooled, out = np.empty(block * width, dtype), np.empty(block * out_features, dtype)
    index = np.empty(width + 1, np.uint8)
    gain, leak = dtype.type(bias_gain), dtype.type(readout_decay)
    theta_rows = theta.reshape(num_layers, block, width)
    for first in range(0, batch, block):
        rows = min(block, batch - first)
        size = rows * width
        drive_rows, held_rows = drive[:size].reshape(rows, width), held[:size].reshape(rows, width)
        pooled_rows = pooled[:size].reshape(rows, width)
        u[:] = 0
        out[:] = 0
        if state_BS.size > 0:
            column = 0
            for l in range(num_layers):
                _load(state_BS, first, rows, column, sizes[l + 1], width, u[l])
                column += sizes[l + 1]
            _load(state_BS, first, rows, column, out_features, out_features, out)
        for e in range(num_observations):
            if mask_EB.size > 0:
                for l in range(num_layers):
                    _rest_rows(mask_EB, e, first, rows, width, u[l])
                _rest_rows(mask_EB, e, first, rows, out_features, out)
            matmul(inputs_EBF[e, first : first + rows], num_features, transposed[0], width, held_rows)
            for k in range(period):
                for l in range(num_layers):
                    if l > 0:
                        drive[:size] = 0
                        u_in, theta_in, weights = u[l - 1, :size].reshape(rows, width), theta_rows[l - 1], transposed[l]
                        for b in range(rows):
                            count = events(u_in, theta_in, b, sizes[l], index)
                            add_rows(index, count, weights, sizes[l + 1], drive_rows, b)
                    integrate(
                        drive[:size] if l > 0 else held[:size], bias[l, :size], decay[l, :size], theta[l, :size],
                        resets[l], u[l, :size],
                    )  # fmt: skip
                    if membranes.size > 0:
                        start = (((e * period + k) * num_layers + l) * batch + first) * width
                        copy(u[l, :size], membranes[start : start + size])
                pool(u[num_layers - 1, :size], theta[num_layers - 1, :size], pool_K[k], k == 0, pooled[:size])
            for b in range(rows):
                for o in range(out_features):
                    value = leak * out[b * out_features + o] + gain * readout_bias[o]
                    value += dot(pooled_rows, b, readout, o, num_last)
                    out[b * out_features + o] = value
                    outputs_EBO[e, first + b, o] = value
        column = 0
        for l in range(num_layers):
            _store(u[l], first, rows, column, sizes[l + 1], width, final_BS)
            column += sizes[l + 1]
        _store(out, first, rows, column, out_features, out_features, final_BS)


@jit
def _add_sum(cells, start, length, num, width, out):
    """Add the rows of ``cells``, one number a neuron or one for all; the inverse of ``_tile``."""
    for b in range(cells.size // width):
        for n in range(num):
            out[start + (n if length > 1 else 0)] += cells[b * width + n]


@jit
def _add_transposed(rows, start, num_in, num_out, out):
    for n in range(num_out):
        for i in range(num_in):
            out[start + n * num_in + i] += rows[i, n]


@jit
def backward(
    grad_outputs_EBO, grad_final_BS, inputs_EBF, state_BS, mask_EB, parameters, where, sizes, resets, kinds, slopes,
    pool_K, bias_gain, readout_decay, learned, membranes, grad_inputs_EBF, grad_state_BS, grad_parameters,
):  # fmt: skip
    """Fill ``grad_inputs`` and ``grad_state``, add to ``grad_parameters``.

    May be empty: incoming gradients, ``state``, ``mask``, ``grad_inputs``, ``grad_state``. Beta and threshold
    receive their gradients where ``learned[l]``.
    """
    num_observations, batch, num_features = inputs_EBF.shape
    num_layers, out_features, period = where.shape[0], sizes[-1], pool_K.size
    width = sizes[1:-1].max()
    num_last = sizes[-2]
    block = max(1, min(batch, _CELLS // width))
    dtype = parameters.dtype
    weight = _weights(parameters, where, sizes, width, False)
    _, decay, theta = _tiles(parameters, where, sizes, width, block)
    grad_weight = np.zeros((num_layers, weight.shape[2], width), dtype)  # transposed
    readout = parameters[: out_features * num_last].reshape(out_features, num_last)
    grad_readout = grad_parameters[: out_features * num_last].reshape(out_features, num_last)
    grad_readout_bias = grad_parameters[out_features * num_last : out_features * (num_last + 1)]
    bias_sum, beta_sum = np.zeros((num_layers, block * width), dtype), np.zeros((num_layers, block * width), dtype)
    theta_sum, carried = np.zeros((num_layers, block * width), dtype), np.empty((num_layers, block * width), dtype)
    before, fired = np.empty(block * width, dtype), np.empty(block * width, dtype)
    product, through, held = (
        np.zeros(block * width, dtype),
        np.zeros(block * width, dtype),
        np.empty(block * width, dtype),
    )
    pooled, through_pool = np.empty(block * width, dtype), np.zeros(block * width, dtype)
    g_out = np.empty(block * out_features, dtype)
    index = np.empty(width + 1, np.uint8)
    gain, leak, one = dtype.type(bias_gain), dtype.type(readout_decay), dtype.type(1)
    theta_rows = theta.reshape(num_layers, block, width)
    for first in range(0, batch, block):
        rows = min(block, batch - first)
        size = rows * width
        through_rows, through_pool_rows = through[:size].reshape(rows, width), through_pool[:size].reshape(rows, width)
        pooled_rows, held_rows = pooled[:size].reshape(rows, width), held[:size].reshape(rows, width)
        g_out_rows = g_out[: rows * out_features].reshape(rows, out_features)
        carried[:] = 0
        g_out[:] = 0
        if grad_final_BS.size > 0:
            column = 0
            for l in range(num_layers):
                _load(grad_final_BS, first, rows, column, sizes[l + 1], width, carried[l])
                column += sizes[l + 1]
            _load(grad_final_BS, first, rows, column, out_features, out_features, g_out)
        for e in range(num_observations - 1, -1, -1):
            starts = mask_EB.size > 0
            if grad_outputs_EBO.size > 0:
                for b in range(rows):
                    for o in range(out_features):
                        g_out_rows[b, o] += grad_outputs_EBO[e, first + b, o]
            matmul(g_out_rows, out_features, readout, num_last, through_pool_rows)
            held[:] = 0
            for k in range(period - 1, -1, -1):
                t = e * period + k
                for l in range(num_layers - 1, -1, -1):
                    start = ((t * num_layers + l) * batch + first) * width
                    u, g = membranes[start : start + size], carried[l, :size]
                    if l == num_layers - 1:
                        pool(u, theta[l, :size], pool_K[k], k == period - 1, pooled[:size])
                        arriving, scale = through_pool[:size], pool_K[k]
                    else:
                        arriving, scale = through[:size], one
                    if learned[l]:
                        product[:] = 0
                        add_through_spike(arriving, scale, u, theta[l, :size], kinds[l], slopes[l], product[:size])
                        add(product[:size], g)
                        subtract(product[:size], theta_sum[l, :size])
                    else:
                        add_through_spike(arriving, scale, u, theta[l, :size], kinds[l], slopes[l], g)
                    if l == 0:
                        add(g, held[:size])
                    else:
                        add(g, bias_sum[l, :size])
                        start_in = start - batch * width
                        u_in = membranes[start_in : start_in + size].reshape(rows, width)
                        g_rows, theta_in, grads = g.reshape(rows, width), theta_rows[l - 1], grad_weight[l]
                        for b in range(rows):
                            count = events(u_in, theta_in, b, sizes[l], index)
                            add_to_rows(index, count, g_rows, b, sizes[l + 1], grads)
                        matmul(g_rows, sizes[l + 1], weight[l], sizes[l], through_rows)
                    if learned[l] or resets[l] == 2:
                        before[:] = 0
                        if t > 0:
                            start_before = start - num_layers * batch * width
                            copy(membranes[start_before : start_before + size], before[:size])
                        elif state_BS.size > 0:
                            column = sizes[1 : l + 1].sum()
                            _load(state_BS, first, rows, column, sizes[l + 1], width, before)
                        if starts and k == 0:
                            _rest_rows(mask_EB, e, first, rows, width, before)
                        fire(before[:size], theta[l, :size], fired[:size])
                    if learned[l]:
                        collect(g, before[:size], fired[:size], resets[l], beta_sum[l, :size], theta_sum[l, :size])
                    carry_back(fired[:size], decay[l, :size], resets[l], g)
                    if starts and k == 0:
                        _rest_rows(mask_EB, e, first, rows, width, g)
            add(held[:size], bias_sum[0, :size])
            if grad_inputs_EBF.size > 0:
                matmul(held_rows, sizes[1], weight[0], num_features, grad_inputs_EBF[e, first : first + rows])
            observed, grads = inputs_EBF[e, first : first + rows], grad_weight[0]
            for b in range(rows):
                add_outer(observed, num_features, held_rows, b, sizes[1], grads)
                add_outer(g_out_rows, out_features, pooled_rows, b, num_last, grad_readout)
                for o in range(out_features):
                    grad_readout_bias[o] += gain * g_out_rows[b, o]
                    g_out_rows[b, o] *= leak
            if starts:
                _rest_rows(mask_EB, e, first, rows, out_features, g_out)
        if grad_state_BS.size > 0:
            column = 0
            for l in range(num_layers):
                _store(carried[l], first, rows, column, sizes[l + 1], width, grad_state_BS)
                column += sizes[l + 1]
            _store(g_out, first, rows, column, out_features, out_features, grad_state_BS)
    for l in range(num_layers):
        num = sizes[l + 1]
        _add_transposed(grad_weight[l], where[l, 0], sizes[l], num, grad_parameters)
        _add_sum(bias_sum[l], where[l, 1], num, num, width, grad_parameters)
        if learned[l]:
            _add_sum(beta_sum[l], where[l, 2], where[l, 4], num, width, grad_parameters)
            _add_sum(theta_sum[l], where[l, 3], where[l, 5], num, width, grad_parameters)
