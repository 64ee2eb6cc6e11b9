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
from synrl_ray.snn.cell_kernels import RESET_CODES, SURROGATE_CODES
from synrl_ray.snn.numba_kernel import EMPTY, mask_array
from synrl_ray.snn.stack_plan import Plan

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
    num_observations, batch, num_features = inputs.shape
    dtype = inputs.dtype
    structure = _structure(plan.sizes, num_features, _lengths(parameters), plan.resets)
    flat = torch._utils._flatten_dense_tensors(parameters)
    kept = num_observations * plan.period * len(plan.resets) * batch * max(plan.sizes[:-1]) if keep else 0
    membranes = torch.empty(kept, dtype=dtype)
    outputs = torch.empty(num_observations, batch, plan.sizes[-1], dtype=dtype)
    final = torch.empty(batch, sum(plan.sizes), dtype=dtype)
    kernels.forward(
        _array(inputs), _EMPTY_2D[dtype] if state is None else _array(state), mask_array(mask), flat.numpy(),
        *structure, plan.pool.numpy(), plan.bias_gain, plan.readout_decay.item(), membranes.numpy(), outputs.numpy(),
        final.numpy(),
    )  # fmt: skip
    return outputs, final, (flat, membranes)


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
    num_features, dtype = inputs.shape[2], inputs.dtype
    empty_2d, empty_3d = _EMPTY_2D[dtype], _EMPTY_3D[dtype]
    where, sizes, resets = _structure(plan.sizes, num_features, _lengths(parameters), plan.resets)
    kinds, slopes = _surrogates(plan, dtype)
    learned = np.array([needs[8 + 4 * i] or needs[9 + 4 * i] for i in range(len(plan.resets))])
    grad_flat = torch.zeros_like(flat)
    grad_inputs = torch.empty(inputs.shape, dtype=dtype) if needs[1] else None
    grad_state = torch.empty(inputs.shape[1], sum(plan.sizes), dtype=dtype) if needs[2] else None
    kernels.backward(
        empty_3d if grad_outputs is None else _array(grad_outputs),
        empty_2d if grad_final is None else _array(grad_final),
        _array(inputs), empty_2d if state is None else _array(state), mask_array(mask), flat.numpy(), where, sizes,
        resets, kinds, slopes, plan.pool.numpy(), plan.bias_gain, plan.readout_decay.item(), learned, membranes.numpy(),
        empty_3d if grad_inputs is None else grad_inputs.numpy(),
        empty_2d if grad_state is None else grad_state.numpy(), grad_flat.numpy(),
    )  # fmt: skip
    grads = torch._utils._unflatten_dense_tensors(grad_flat, parameters)
    return None, grad_inputs, grad_state, None, *(g if need else None for g, need in zip(grads, needs[4:], strict=True))


def _array(tensor: Tensor) -> np.ndarray:
    array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _lengths(parameters: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple([p.numel() for p in parameters])


@lru_cache(maxsize=256)
def _structure(
    sizes: tuple[int, ...], num_features: int, lengths: tuple[int, ...], resets: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``where``, ``sizes`` and ``resets`` as the kernels want them."""
    starts = np.cumsum([0, *lengths])
    where = [[*starts[i : i + 4], *lengths[i + 2 : i + 4]] for i in range(2, len(lengths), 4)]
    return (
        np.array(where, dtype=np.int64),
        np.array([num_features, *sizes], dtype=np.int64),
        np.array([RESET_CODES[reset] for reset in resets], dtype=np.int64),
    )


def _surrogates(plan: Plan, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.array([SURROGATE_CODES[surrogate.name] for surrogate in plan.surrogates], dtype=np.int64)
    return kinds, np.array([surrogate.k for surrogate in plan.surrogates], dtype=EMPTY[dtype].dtype)
