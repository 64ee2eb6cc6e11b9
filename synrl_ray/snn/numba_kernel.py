"""The LIF scan through the compiled CPU kernels: tensors in, tensors out, no copies where none are needed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.snn import numba_kernels as kernels
from synrl_ray.snn.surrogate import Surrogate

_NO_MASK = np.zeros((0, 0), dtype=np.bool_)
_EMPTY_1D = {dtype: torch.empty(0, dtype=dtype).numpy() for dtype in (torch.float32, torch.float64)}
_EMPTY_2D = {dtype: torch.empty(0, 0, dtype=dtype).numpy() for dtype in (torch.float32, torch.float64)}
_EMPTY_3D = {dtype: torch.empty(0, 0, 0, dtype=dtype).numpy() for dtype in (torch.float32, torch.float64)}


def forward(
    current: Tensor, membrane: Tensor, beta: Tensor, threshold: Tensor, reset: str, mask: Tensor | None, hold: int
) -> tuple[Tensor, Tensor]:
    """Return membranes and spikes ``[E*hold, B, N]``."""
    num_inputs, batch, num_neurons = current.shape
    membranes = torch.empty(num_inputs * hold, batch, num_neurons, dtype=current.dtype)
    spikes = torch.empty_like(membranes)
    scan_into(
        membranes, spikes, current=current, membrane=membrane, beta=beta, threshold=threshold, reset=reset, mask=mask,
        hold=hold, period=hold,
    )  # fmt: skip
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
    grad_current = torch.empty(num_steps // hold, batch, num_neurons, dtype=membranes.dtype)
    grad_membrane = torch.empty(batch, num_neurons, dtype=membranes.dtype)
    grad_beta, grad_threshold = scan_back_into(
        grad_current, grad_membrane, grad_spikes=grad_spikes, grad_membranes=grad_membranes, membranes=membranes,
        membrane=membrane, beta=beta, threshold=threshold, reset=reset, mask=mask, hold=hold, period=hold,
        surrogate=surrogate, learned=learned,
    )  # fmt: skip
    return grad_current, grad_membrane, grad_beta, grad_threshold


def scan_into(
    membranes: Tensor | None,
    spikes: Tensor,
    *,
    current: Tensor,
    membrane: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    reset: str,
    mask: Tensor | None,
    hold: int,
    period: int,
    pool: Tensor | None = None,
) -> Tensor:
    """Scan into the given memory and return the final membrane ``[B, N]``.

    Args:
        membranes: ``[T, B, N]``, may be ``current`` itself where ``hold`` is 1; ``None`` if not wanted.
        spikes: ``[T, B, N]``, or with ``pool`` ``[E, B, N]``.
        current: ``[T / hold, B, N]``.
        membrane: ``[B, N]``; ``None`` is rest.
        beta, threshold, reset: of the neurons.
        mask: ``[E, B]`` bool, rows that start an observation from rest.
        hold: steps for which each current is held.
        period: K, steps per observation.
        pool: ``[K]``; weights with which the spikes of an observation are summed instead of emitted.
    """
    dtype = current.dtype
    final = torch.empty(current.shape[1:], dtype=dtype)
    kernels.forward(
        array(current),
        _EMPTY_2D[dtype] if membrane is None else array(membrane),
        _parameter(beta),
        _parameter(threshold),
        kernels.RESET_CODES[reset],
        _NO_MASK if mask is None else array(mask),
        hold,
        period,
        _EMPTY_1D[dtype] if pool is None else pool.numpy(),
        current.shape[0] * hold,
        _EMPTY_3D[dtype] if membranes is None else membranes.numpy(),
        spikes.numpy(),
        final.numpy(),
    )
    return final


def scan_back_into(
    grad_current: Tensor,
    grad_membrane: Tensor | None,
    *,
    grad_spikes: Tensor | None = None,
    grad_membranes: Tensor | None = None,
    grad_final: Tensor | None = None,
    membranes: Tensor,
    membrane: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    reset: str,
    mask: Tensor | None,
    hold: int,
    period: int,
    pool: Tensor | None = None,
    surrogate: Surrogate,
    learned: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Scan back into the given memory and return the gradients of beta and threshold (if ``learned``).

    Args:
        grad_current: ``[T / hold, B, N]``, may be ``grad_spikes`` itself where ``hold`` is 1 and nothing is pooled.
        grad_membrane: ``[B, N]``; ``None`` if not wanted.
        grad_spikes: of the spikes or pooled spikes; ``None`` is zero, as for the next two.
        grad_membranes: ``[T, B, N]``.
        grad_final: of the final membrane ``[B, N]``.
        membranes: what :func:`scan_into` filled.
        membrane, beta, threshold, reset, mask, hold, period, pool: as given to :func:`scan_into`.
        surrogate: of the spikes.
        learned: whether beta and threshold want gradients.
    """
    dtype = membranes.dtype
    grad_beta = torch.zeros(membranes.shape[2] if learned else 0, dtype=dtype)
    grad_threshold = torch.zeros_like(grad_beta)
    kernels.backward(
        _EMPTY_3D[dtype] if grad_spikes is None else array(grad_spikes),
        _EMPTY_3D[dtype] if grad_membranes is None else array(grad_membranes),
        _EMPTY_2D[dtype] if grad_final is None else array(grad_final),
        array(membranes),
        _EMPTY_2D[dtype] if membrane is None else array(membrane),
        _parameter(beta),
        _parameter(threshold),
        kernels.RESET_CODES[reset],
        _NO_MASK if mask is None else array(mask),
        hold,
        period,
        _EMPTY_1D[dtype] if pool is None else pool.numpy(),
        kernels.SURROGATE_CODES[surrogate.name],
        surrogate.k,
        grad_current.numpy(),
        _EMPTY_2D[dtype] if grad_membrane is None else grad_membrane.numpy(),
        grad_beta.numpy(),
        grad_threshold.numpy(),
    )
    if not learned:
        return None, None
    return _reduce(grad_beta, beta), _reduce(grad_threshold, threshold)


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, copied only if it is not contiguous."""
    return tensor.detach().contiguous().numpy()


def _parameter(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1).numpy()


def _reduce(grad: Tensor, like: Tensor) -> Tensor:
    return grad.sum().reshape(like.shape) if like.numel() == 1 else grad
