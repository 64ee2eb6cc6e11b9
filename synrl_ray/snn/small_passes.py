"""The two passes of :mod:`synrl_ray.snn.stack` for small networks, each one call of a compiled kernel.

Legend: E observations of K simulation steps, T = E*K, B batch, L spiking layers, O readout neurons, S state size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synrl_ray.snn import network_kernels as kernels
from synrl_ray.snn.cell_kernels import SURROGATE_CODES
from synrl_ray.snn.numba_kernel import EMPTY, mask_array
from synrl_ray.snn.stack_plan import Plan
from synrl_ray.snn.surrogate import Surrogate

_EMPTY_2D = {dtype: empty.reshape(0, 0) for dtype, empty in EMPTY.items()}
_EMPTY_3D = {dtype: empty.reshape(0, 0, 0) for dtype, empty in EMPTY.items()}


def forward_pass(
    plan: Plan,
    inputs: Tensor,
    state: Tensor | None,
    mask: Tensor | None,
    parameters: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return outputs, final state, and what backward needs: the flat parameters, the membranes (only if ``keep``)."""
    num_observations, batch, _ = inputs.shape
    dtype, sizes = inputs.dtype, plan.sizes
    assert plan.small is not None
    where, widths, reset_codes = plan.small
    flat = torch._utils._flatten_dense_tensors(parameters)
    kept = [flat]
    membranes = EMPTY[dtype]
    if keep:
        kept.append(inputs.new_empty(num_observations * plan.period * len(reset_codes) * batch * max(sizes[:-1])))
        membranes = kept[1].numpy()
    outputs = inputs.new_empty(num_observations, batch, sizes[-1])
    final = inputs.new_empty(batch, sum(sizes))
    kernels.forward(
        _array(inputs), _EMPTY_2D[dtype] if state is None else _array(state), mask_array(mask), flat.numpy(),
        where, widths, reset_codes, plan.pool.numpy(), plan.bias_gain, plan.readout_decay.item(), membranes,
        outputs.numpy(), final.numpy(),
    )  # fmt: skip
    return outputs, final, kept


def backward_pass(
    plan: Plan,
    parameters: Sequence[Tensor],
    saved: Sequence[Any],
    grad_outputs: Tensor | None,
    grad_final: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Any, ...]:
    """Return a gradient for every argument of the node: plan, inputs, state, mask, ``*parameters``."""
    inputs, state, mask, flat, membranes = saved
    dtype = inputs.dtype
    empty_2d, empty_3d = _EMPTY_2D[dtype], _EMPTY_3D[dtype]
    assert plan.small is not None
    where, widths, reset_codes = plan.small
    kinds, slopes = _surrogates(plan.surrogates)
    learned = _learned(tuple(needs[6:]))
    grad_flat = np.zeros(flat.numel(), empty_2d.dtype)
    grad_inputs = inputs.new_empty(inputs.shape) if needs[1] else None
    grad_state = inputs.new_empty(inputs.shape[1], sum(plan.sizes)) if needs[2] else None
    kernels.backward(
        empty_3d if grad_outputs is None else _array(grad_outputs),
        empty_2d if grad_final is None else _array(grad_final),
        _array(inputs), empty_2d if state is None else _array(state), mask_array(mask), flat.numpy(), where, widths,
        reset_codes, kinds, slopes, plan.pool.numpy(), plan.bias_gain, plan.readout_decay.item(), learned,
        membranes.numpy(), empty_3d if grad_inputs is None else grad_inputs.numpy(),
        empty_2d if grad_state is None else grad_state.numpy(), grad_flat,
    )  # fmt: skip
    grads: list[Tensor | None] = []
    start = 0
    for parameter, need in zip(parameters, needs[4:], strict=True):
        end = start + parameter.numel()
        # Each a tensor of its own, no view of the whole: who changes one in place would change the others' version.
        grads.append(torch.from_numpy(grad_flat[start:end].reshape(parameter.shape)) if need else None)
        start = end
    return None, grad_inputs, grad_state, None, *grads


def _array(tensor: Tensor) -> np.ndarray:
    array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


@lru_cache(maxsize=256)
def _surrogates(surrogates: tuple[Surrogate, ...]) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.array([SURROGATE_CODES[surrogate.name] for surrogate in surrogates], dtype=np.int64)
    return kinds, np.array([surrogate.k for surrogate in surrogates], dtype=np.float64)


@lru_cache(maxsize=256)
def _learned(needs: tuple[bool, ...]) -> np.ndarray:
    """Of every spiking layer, whether decay or threshold need a gradient, from what the layers' parameters need."""
    return np.array([needs[i + 2] or needs[i + 3] for i in range(0, len(needs), 4)])
