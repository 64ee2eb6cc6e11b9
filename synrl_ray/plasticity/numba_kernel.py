"""The scans of plasticity through the compiled CPU kernels: tensors in, tensors out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.plasticity import numba_kernels as kernels

NO_MASK = np.zeros((0, 0), dtype=np.bool_)


def trace_scan(spikes: Tensor, trace: Tensor, decay: float, nearest: bool, mask: Tensor | None) -> Tensor:
    """Traces ``[T, B, N]`` after each step's spikes."""
    traces = torch.empty(spikes.shape, dtype=spikes.dtype)
    kernels.trace_scan(as_array(spikes), as_array(trace), decay, nearest, as_mask(mask), traces.numpy())
    return traces


def discounted_sums(values: Tensor, decay: float, mask: Tensor | None) -> Tensor:
    """``[T, B]``: each step's value plus the decayed later ones up to the next masked step."""
    sums = torch.empty(values.shape, dtype=values.dtype)
    kernels.discounted_sums(as_array(values), decay, as_mask(mask), sums.numpy())
    return sums


def as_array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, copied only if it is not contiguous."""
    return tensor.detach().contiguous().numpy()


def as_mask(mask: Tensor | None) -> np.ndarray:
    """The mask's memory, or an empty array."""
    return NO_MASK if mask is None else as_array(mask)
