"""The scans of plasticity through the compiled CPU kernels: tensors in, tensors out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.plasticity import numba_kernels as kernels
from synrl_ray.plasticity.factors import Factors

NO_MASK = np.zeros((0, 0), dtype=np.bool_)


def trace_scan(spikes: Tensor, trace: Tensor, decay: float, nearest: bool, mask: Tensor | None) -> Tensor:
    """Traces ``[T, B, N]`` after each step's spikes."""
    traces = torch.empty(spikes.shape, dtype=spikes.dtype)
    kernels.trace_scan(_array(spikes), _array(trace), decay, nearest, _mask(mask), traces.numpy())
    return traces


def discounted_sums(values: Tensor, decay: float, mask: Tensor | None) -> Tensor:
    """``[T, B]``: each step's value plus the decayed later ones up to the next masked step."""
    sums = torch.empty(values.shape, dtype=values.dtype)
    kernels.discounted_sums(_array(values), decay, _mask(mask), sums.numpy())
    return sums


def pair_sums(factors: Factors, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentiation and depression ``[I, O]``, summed over steps and rows."""
    num_steps, batch, num_pre = factors.pre_trace.shape
    num_post, dtype = factors.post_trace.shape[2], factors.pre_trace.dtype
    scale = torch.ones(num_steps, batch, dtype=dtype) if scale is None else scale
    potentiation_OI = torch.zeros(num_post, num_pre, dtype=dtype)
    depression = torch.zeros(num_pre, num_post, dtype=dtype)
    kernels.add_pairs(*_arrays(factors), _array(scale), 0, batch, potentiation_OI.numpy(), depression.numpy())
    return potentiation_OI.t().contiguous(), depression


def pair_sums_per_row(factors: Factors, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Potentiation and depression of each row, ``[B, I, O]``."""
    _, batch, num_pre = factors.pre_trace.shape
    num_post, dtype = factors.post_trace.shape[2], factors.pre_trace.dtype
    potentiation = torch.empty(batch, num_pre, num_post, dtype=dtype)
    depression = torch.zeros(batch, num_pre, num_post, dtype=dtype)
    buffer_OI = torch.empty(num_post, num_pre, dtype=dtype)
    arrays, weights = _arrays(factors), _array(scale)
    for b in range(batch):
        kernels.add_pairs(*arrays, weights, b, b + 1, buffer_OI.zero_().numpy(), depression[b].numpy())
        potentiation[b] = buffer_OI.t()
    return potentiation, depression


def _arrays(factors: Factors) -> list[np.ndarray]:
    return [_array(factor) for factor in factors]


def _array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, copied only if it is not contiguous."""
    return tensor.detach().contiguous().numpy()


def _mask(mask: Tensor | None) -> np.ndarray:
    return NO_MASK if mask is None else _array(mask)
