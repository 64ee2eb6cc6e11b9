"""The two passes of :mod:`synrl_ray.snn.stack`: matrix products by torch, time loops by the compiled kernels.

Legend: E observations of K simulation steps, T = E*K, B batch, N neurons, O readout neurons, S state size.
Between layers everything is ``[rows, N]`` with rows = E*B or T*B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synrl_ray.snn.cell_kernels import RESET_CODES, SURROGATE_CODES
from synrl_ray.snn.numba_kernel import EMPTY, flat, mask_array, parameter_gradients, to_parameter
from synrl_ray.snn.numba_kernels import backward as scan_back
from synrl_ray.snn.numba_kernels import forward as scan
from synrl_ray.snn.stack_plan import Plan, layout

_NO_RESET = RESET_CODES["none"]


def forward_pass(
    plan: Plan,
    inputs: Tensor,
    state: Tensor | None,
    mask: Tensor | None,
    parameters: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return outputs, final state, and what backward needs: the memory of membranes (only if ``keep``) and signals."""
    num_observations, batch, _ = inputs.shape
    period, dtype, out_features = plan.period, inputs.dtype, plan.sizes[-1]
    rows, num_steps, depth = num_observations * batch, num_observations * period, len(plan.surrogates)
    at = layout(plan.sizes, period, num_observations, batch)
    empty = EMPTY[dtype]
    slab, final = inputs.new_empty(at.size), inputs.new_empty(batch, at.width)
    memory, final_memory = slab.numpy(), flat(final)
    before = empty if state is None else flat(state)
    reset_rows = mask_array(mask)
    readout_weight, readout_bias, *hidden = parameters

    signal = inputs.reshape(rows, -1)
    for i, n in enumerate(plan.sizes[:-1]):
        weight, bias, beta, threshold = hidden[4 * i : 4 * i + 4]
        first, last = at.membranes[i]
        hold = period if i == 0 else 1
        current = inputs.new_empty(rows, n) if hold > 1 else _matrix(slab, first, num_steps * batch, n)
        torch.mm(signal, weight.t(), out=current)
        start, end = at.signals[i]
        scan(
            flat(current), flat(bias), 1.0, before, at.columns[i], flat(beta), flat(threshold),
            plan.structure.resets[i], reset_rows, hold, period, flat(plan.pool) if i == depth - 1 else empty,
            num_steps, batch, n, memory[first:last] if keep else empty, memory[start:end], final_memory, at.columns[i],
        )  # fmt: skip
        signal = _matrix(slab, start, (end - start) // n, n)

    # no view of a matrix: torch lets nobody change a view that a node returns
    outputs = torch.nn.functional.linear(signal.view(num_observations, batch, -1), readout_weight)
    values, decay = flat(outputs), flat(plan.readout_decay)
    scan(
        values, flat(readout_bias), plan.bias_gain, before, at.columns[-1], decay, decay, _NO_RESET, reset_rows, 1, 1,
        empty, num_observations, batch, out_features, values, empty, final_memory, at.columns[-1],
    )  # fmt: skip
    return outputs, final, (slab,)


def backward_pass(
    plan: Plan,
    parameters: Sequence[Tensor],
    saved: Sequence[Any],
    grad_outputs: Tensor | None,
    grad_final: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Any, ...]:
    """Return a gradient for every argument of the node: plan, inputs, state, mask, ``*parameters``."""
    inputs, state, mask, slab = saved
    num_observations, batch, _ = inputs.shape
    period, dtype, out_features = plan.period, inputs.dtype, plan.sizes[-1]
    rows, num_steps, depth = num_observations * batch, num_observations * period, len(plan.surrogates)
    at = layout(plan.sizes, period, num_observations, batch)
    empty = EMPTY[dtype]
    memory = slab.numpy()
    before = empty if state is None else flat(state)
    after = empty if grad_final is None else flat(grad_final)
    reset_rows = mask_array(mask)
    grads: list[Tensor | None] = [None] * len(needs)
    grad_state = empty
    if needs[2]:
        grads[2] = whole = inputs.new_empty(batch, at.width)
        grad_state = flat(whole)

    g, grad_bias = inputs.new_empty(rows, out_features), inputs.new_empty(out_features)
    decay = flat(plan.readout_decay)
    scan_back(
        empty, empty if grad_outputs is None else flat(grad_outputs), after, at.columns[-1], empty, plan.bias_gain,
        before, at.columns[-1], decay, decay, _NO_RESET, reset_rows, 1, 1, empty, num_observations, batch, out_features,
        0, 1.0, flat(g), grad_state, flat(grad_bias), empty, empty,
    )  # fmt: skip
    if needs[4]:
        grads[4] = torch.mm(g.t(), _matrix(slab, at.signals[-1][0], rows, plan.sizes[-2]))
    grads[5] = grad_bias
    through = torch.mm(g, parameters[0])

    for i in range(depth - 1, -1, -1):
        n, own = plan.sizes[i], 6 + 4 * i
        weight, _, beta, threshold = parameters[2 + 4 * i : 6 + 4 * i]
        first, last = at.membranes[i]
        hold, is_last = period if i == 0 else 1, i == depth - 1
        learned = needs[own + 2] or needs[own + 3]
        in_place = hold == 1 and not is_last
        grad_current = through if in_place else inputs.new_empty(num_steps // hold * batch, n)
        grads[own + 1] = grad_bias = inputs.new_empty(n)
        grad_beta, grad_threshold = parameter_gradients(n, learned, dtype)
        surrogate = plan.surrogates[i]
        scan_back(
            flat(through), empty, after, at.columns[i], memory[first:last], 1.0, before, at.columns[i], flat(beta),
            flat(threshold), plan.structure.resets[i], reset_rows, hold, period,
            flat(plan.pool) if is_last else empty, num_steps, batch, n, SURROGATE_CODES[surrogate.name], surrogate.k,
            flat(grad_current), grad_state, flat(grad_bias), grad_beta, grad_threshold,
        )  # fmt: skip
        if needs[own]:
            if i == 0:
                signal = inputs.reshape(rows, -1)
            else:
                signal = _matrix(slab, at.signals[i - 1][0], num_steps * batch, plan.sizes[i - 1])
            grads[own] = torch.mm(grad_current.t(), signal)
        if learned:
            grads[own + 2], grads[own + 3] = to_parameter(grad_beta, beta), to_parameter(grad_threshold, threshold)
        if i > 0:
            through = torch.mm(grad_current, weight)
        elif needs[1]:
            grads[1] = torch.mm(grad_current, weight).view(inputs.shape)
    return tuple(grads)


def _matrix(slab: Tensor, start: int, rows: int, num_neurons: int) -> Tensor:
    """``[rows, N]`` in the slab, from ``start`` on."""
    return slab.as_strided((rows, num_neurons), (num_neurons, 1), start)
