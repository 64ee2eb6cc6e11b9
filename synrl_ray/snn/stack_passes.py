"""The two passes of :mod:`synrl_ray.snn.stack`: products by :mod:`synrl_ray.snn.products`, time loops compiled.

Legend: E observations of K simulation steps, T = E*K, B batch, N neurons, O readout neurons, S state size.
Between layers everything is ``[rows, N]`` with rows = E*B or T*B, spikes are that or lists. A layer's spikes are listed
by the kernel that emits them, unless they are so many that the dense products are faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synrl_ray.snn.cell_kernels import RESET_CODES, SURROGATE_CODES
from synrl_ray.snn.numba_kernel import EMPTY, NO_LISTS, flat, mask_array, parameter_gradients, to_parameter
from synrl_ray.snn.numba_kernels import backward as scan_back
from synrl_ray.snn.numba_kernels import forward as scan
from synrl_ray.snn.products import Near, most_fired
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.stack_plan import Plan, layout

_NO_RESET = RESET_CODES["none"]


def forward_pass(
    plan: Plan,
    inputs: Tensor,
    state: Tensor | None,
    mask: Tensor | None,
    parameters: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
    """Return outputs, final state, and what backward needs: the memory of membranes (only if ``keep``) and signals."""
    num_inputs, batch, _ = inputs.shape
    num_observations = num_inputs * plan.hold // plan.period
    period, dtype, out_features = plan.period, inputs.dtype, plan.sizes[-1]
    rows, num_steps, depth = num_observations * batch, num_observations * period, len(plan.surrogates)
    at = layout(plan.sizes, period, num_observations, batch)
    empty = EMPTY[dtype]
    slab, final = inputs.new_empty(at.size), inputs.new_empty(batch, at.width)
    final_memory = flat(final)
    before = empty if state is None else flat(state)
    reset_rows = mask_array(mask)
    readout_weight, readout_bias, *hidden = parameters

    signal = _received(plan, inputs)
    kept: list[Tensor] = []
    signals: list[Tensor | None] = []
    for i, n in enumerate(plan.sizes[:-1]):
        weight, bias, beta, threshold = hidden[4 * i : 4 * i + 4]
        hold, is_last = plan.hold if i == 0 else 1, i == depth - 1
        membranes = _matrix(slab, at.membranes[i], num_steps * batch, n)
        current = plan.products[i].forward(signal, weight, out=inputs.new_empty(rows, n) if hold > 1 else membranes)
        if hold == 1:
            membranes = current  # which the kernel overwrites
        following = None if is_last else plan.products[i + 1]
        spikes = _matrix(slab, at.signals[i], rows if is_last else num_steps * batch, n)
        lists = None
        if following is not None and following.takes_lists(dtype):
            lists = SpikeLists.empty(num_steps * batch, n, following.num_pixels)
        is_listed = scan(
            flat(current), flat(bias), 1.0, before, at.columns[i], flat(beta), flat(threshold), plan.resets[i],
            reset_rows, hold, period, flat(plan.pool) if is_last else empty, num_steps, batch, n,
            flat(membranes) if keep else empty, flat(spikes),
            *((NO_LISTS, NO_LISTS) if lists is None else (lists.index.numpy(), lists.ends.numpy())),
            most_fired(), final_memory, at.columns[i],
        )  # fmt: skip
        signal = lists if lists is not None and is_listed else spikes
        kept.append(membranes)
        signals += [signal.index, signal.ends] if isinstance(signal, SpikeLists) else [signal, None]

    # no view of a matrix: torch lets nobody change a view that a node returns
    assert isinstance(signal, Tensor)
    outputs = torch.nn.functional.linear(signal.view(num_observations, batch, -1), readout_weight)
    values, decay = flat(outputs), flat(plan.readout_decay)
    scan(
        values, flat(readout_bias), plan.bias_gain, before, at.columns[-1], decay, decay, _NO_RESET, reset_rows, 1, 1,
        empty, num_observations, batch, out_features, values, empty, NO_LISTS, NO_LISTS, 1.0, final_memory,
        at.columns[-1],
    )  # fmt: skip
    return outputs, final, (*kept, *signals)


def backward_pass(
    plan: Plan,
    parameters: Sequence[Tensor],
    saved: Sequence[Any],
    grad_outputs: Tensor | None,
    grad_final: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Any, ...]:
    """Return a gradient for every argument of the node: plan, inputs, state, mask, ``*parameters``."""
    inputs, state, mask, *kept = saved
    num_inputs, batch, _ = inputs.shape
    num_observations = num_inputs * plan.hold // plan.period
    period, dtype, out_features = plan.period, inputs.dtype, plan.sizes[-1]
    rows, num_steps, depth = num_observations * batch, num_observations * period, len(plan.surrogates)
    at = layout(plan.sizes, period, num_observations, batch)
    empty = EMPTY[dtype]
    membranes, signals = kept[:depth], kept[depth:]
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
        grads[4] = torch.mm(g.t(), signals[-2])
    grads[5] = grad_bias
    through = torch.mm(g, parameters[0])

    for i in range(depth - 1, -1, -1):
        n, own = plan.sizes[i], 6 + 4 * i
        weight, _, beta, threshold = parameters[2 + 4 * i : 6 + 4 * i]
        product = plan.products[i]
        hold, is_last = plan.hold if i == 0 else 1, i == depth - 1
        learned = needs[own + 2] or needs[own + 3]
        in_place = hold == 1 and not is_last
        grad_current = through if in_place else inputs.new_empty(num_steps // hold * batch, n)
        grads[own + 1] = grad_bias = inputs.new_empty(product.num_biases)
        grad_beta, grad_threshold = parameter_gradients(n, learned, dtype)
        surrogate = plan.surrogates[i]
        scan_back(
            flat(through), empty, after, at.columns[i], flat(membranes[i]), 1.0, before, at.columns[i], flat(beta),
            flat(threshold), plan.resets[i], reset_rows, hold, period,
            flat(plan.pool) if is_last else empty, num_steps, batch, n, SURROGATE_CODES[surrogate.name], surrogate.k,
            flat(grad_current), grad_state, flat(grad_bias), grad_beta, grad_threshold,
        )  # fmt: skip
        if needs[own]:
            signal = _received(plan, inputs) if i == 0 else _signal(*signals[2 * i - 2 : 2 * i])
            grads[own] = product.weight_gradient(grad_current, signal, weight)
        if learned:
            grads[own + 2], grads[own + 3] = to_parameter(grad_beta, beta), to_parameter(grad_threshold, threshold)
        support = plan.surrogates[i - 1].support if i > 0 and product.takes_lists(dtype) else None
        near = None if support is None else Near(membranes[i - 1], parameters[2 + 4 * i - 1], support)
        if near is not None and near.is_rare():
            through = product.near_gradient(grad_current, weight, near)
        elif i > 0:
            through = product.input_gradient(grad_current, weight)
        elif needs[1]:
            grads[1] = product.input_gradient(grad_current, weight).view(inputs.shape)
    return tuple(grads)


def _received(plan: Plan, inputs: Tensor) -> Tensor | SpikeLists:
    """What the first layer's weights receive."""
    return inputs.reshape(-1, inputs.shape[2]) if plan.listed is None else plan.listed


def _signal(spikes: Tensor, ends: Tensor | None) -> Tensor | SpikeLists:
    """What a layer emitted, as it was kept."""
    return spikes if ends is None else SpikeLists(spikes, ends)


def _matrix(slab: Tensor, start: int, rows: int, num_neurons: int) -> Tensor:
    """``[rows, N]`` in the slab, from ``start`` on."""
    return slab.as_strided((rows, num_neurons), (num_neurons, 1), start)
