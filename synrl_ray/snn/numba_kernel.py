"""The LIF scan through the compiled CPU kernels: tensors in, tensors out, no copies where none are needed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.snn import numba_kernels as kernels
from synrl_ray.snn.cell_kernels import RESET_CODES, SURROGATE_CODES
from synrl_ray.snn.surrogate import Surrogate

NO_MASK = np.zeros((0, 0), dtype=np.bool_)
NO_LISTS = np.empty((0, 0), np.int32)
EMPTY: dict[torch.dtype, np.ndarray] = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}


def forward(
    current: Tensor, membrane: Tensor, beta: Tensor, threshold: Tensor, reset: str, mask: Tensor | None, hold: int
) -> tuple[Tensor, Tensor]:
    """Return membranes and spikes ``[E*hold, B, N]``."""
    num_inputs, batch, num_neurons = current.shape
    num_steps = num_inputs * hold
    empty = EMPTY[current.dtype]
    membranes = current.new_empty(num_steps, batch, num_neurons)  # new_: whatever torch's default device is
    spikes = torch.empty_like(membranes)
    kernels.forward(
        flat(current), empty, 1.0, flat(membrane), 0, flat(beta), flat(threshold), RESET_CODES[reset],
        mask_array(mask), hold, hold, empty, num_steps, batch, num_neurons, flat(membranes), flat(spikes),
        NO_LISTS, NO_LISTS, 1.0, np.empty(batch * num_neurons, empty.dtype), 0,
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
    empty = EMPTY[membranes.dtype]
    grad_current = membranes.new_empty(num_steps // hold, batch, num_neurons)
    grad_membrane = membranes.new_empty(batch, num_neurons)
    grad_beta, grad_threshold = parameter_gradients(num_neurons, learned, membranes.dtype)
    kernels.backward(
        empty if grad_spikes is None else flat(grad_spikes),
        empty if grad_membranes is None else flat(grad_membranes),
        empty, 0, flat(membranes), 1.0, flat(membrane), 0, flat(beta), flat(threshold), RESET_CODES[reset],
        mask_array(mask), hold, hold, empty, num_steps, batch, num_neurons,
        SURROGATE_CODES[surrogate.name], surrogate.k, flat(grad_current), flat(grad_membrane),
        empty, grad_beta, grad_threshold,
    )  # fmt: skip
    if not learned:
        return grad_current, grad_membrane, None, None
    return grad_current, grad_membrane, to_parameter(grad_beta, beta), to_parameter(grad_threshold, threshold)


def flat(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as a vector, copied only if it is not contiguous."""
    array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return np.ascontiguousarray(array).reshape(-1)  # an expanded one would be a vector with a step of 0


def mask_array(mask: Tensor | None) -> np.ndarray:
    """The mask's memory; empty where there is none."""
    return NO_MASK if mask is None else np.ascontiguousarray(mask.numpy())


def parameter_gradients(num_neurons: int, learned: bool, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Where the kernel writes the gradients of beta and threshold; empty if they are not learned."""
    empty = EMPTY[dtype]
    if not learned:
        return empty, empty
    return np.empty(num_neurons, empty.dtype), np.empty(num_neurons, empty.dtype)


def to_parameter(grad: np.ndarray, like: Tensor) -> Tensor:
    """A per-neuron gradient, in the shape of the scalar or per-neuron parameter it belongs to."""
    return torch.from_numpy(grad if like.numel() > 1 else grad.sum(keepdims=True)).reshape(like.shape)
