"""The LIF scan through the compiled CPU kernels: tensors in, tensors out, no copies where none are needed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.snn import numba_kernels as kernels
from synrl_ray.snn.surrogate import Surrogate

_NO_MASK = np.zeros((0, 0), dtype=np.bool_)
_NO_GRAD = {dtype: torch.empty(0, 0, 0, dtype=dtype).numpy() for dtype in (torch.float32, torch.float64)}


def forward(
    current: Tensor, membrane: Tensor, beta: Tensor, threshold: Tensor, reset: str, mask: Tensor | None, hold: int
) -> tuple[Tensor, Tensor]:
    """Return membranes and spikes ``[E*hold, B, N]``."""
    num_inputs, batch, num_neurons = current.shape
    membranes = torch.empty(num_inputs * hold, batch, num_neurons, dtype=current.dtype)
    spikes = torch.empty_like(membranes)
    kernels.forward(
        _array(current),
        _array(membrane),
        _parameter(beta),
        _parameter(threshold),
        kernels.RESET_CODES[reset],
        _NO_MASK if mask is None else _array(mask),
        hold,
        membranes.numpy(),
        spikes.numpy(),
    )
    return membranes, spikes


def backward(
    grad_spikes: Tensor | None,
    grad_membranes: Tensor | None,
    membranes: Tensor,
    membrane: Tensor,
    beta: Tensor,
    threshold: Tensor,
    reset: str,
    mask: Tensor | None,
    hold: int,
    surrogate: Surrogate,
    learned: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of current, membrane, beta and threshold (the last two if ``learned``)."""
    num_steps, batch, num_neurons = membranes.shape
    dtype = membranes.dtype
    grad_current = torch.empty(num_steps // hold, batch, num_neurons, dtype=dtype)
    grad_membrane = torch.empty(batch, num_neurons, dtype=dtype)
    grad_beta = torch.zeros(num_neurons if learned else 0, dtype=dtype)
    grad_threshold = torch.zeros_like(grad_beta)
    kernels.backward(
        _NO_GRAD[dtype] if grad_spikes is None else _array(grad_spikes),
        _NO_GRAD[dtype] if grad_membranes is None else _array(grad_membranes),
        _array(membranes),
        _array(membrane),
        _parameter(beta),
        _parameter(threshold),
        kernels.RESET_CODES[reset],
        _NO_MASK if mask is None else _array(mask),
        hold,
        kernels.SURROGATE_CODES[surrogate.name],
        surrogate.k,
        grad_current.numpy(),
        grad_membrane.numpy(),
        grad_beta.numpy(),
        grad_threshold.numpy(),
    )
    if not learned:
        return grad_current, grad_membrane, None, None
    return grad_current, grad_membrane, _reduce(grad_beta, beta), _reduce(grad_threshold, threshold)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _parameter(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1).numpy()


def _reduce(grad: Tensor, parameter: Tensor) -> Tensor:
    return grad.sum().reshape(parameter.shape) if parameter.numel() == 1 else grad
