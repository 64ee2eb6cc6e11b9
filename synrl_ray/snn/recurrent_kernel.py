"""The recurrent scan compiled for the CPU. Equations: :mod:`synrl_ray.snn.recurrent_scan`.

Spikes add the rows of the weights that they meet, so that a quiet layer costs little; the way back is dense.

Legend: T simulation steps, B batch, N neurons; ``parameters`` is ``[3, B * N]``: alpha, beta, threshold.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synrl_ray.compiled import jit
from synrl_ray.snn.cell_kernels import RESET_CODES, SURROGATE_CODES, add_through_spike, carry_back, fire, integrate
from synrl_ray.snn.matmul_kernels import add_rows, matmul
from synrl_ray.snn.numba_kernel import mask_array
from synrl_ray.snn.recurrent_parameters import Parameters, Settings


@jit
def _rest(mask, t, planes):
    """Zero the masked rows of every plane."""
    if mask.size > 0:
        for b in range(planes.shape[1]):
            if mask[t, b]:
                planes[:, b] = 0


@jit
def _forward(current, planes, parameters, diagonal, rows, reset, mask, spikes, membranes, currents):
    """``planes [3, B, N]``, membranes, currents and spikes before the first step, are overwritten.

    ``rows [N, N]``, from and to, is empty where the synapses are one to one.
    """
    num_steps, batch, num_neurons = current.shape
    alpha, beta, theta = parameters[0], parameters[1], parameters[2]
    u, c, fired = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    nothing = np.zeros_like(u)
    index = np.empty(num_neurons, np.int64)
    fire(u, theta, fired)
    for t in range(num_steps):
        _rest(mask, t, planes)
        i_t = current[t].reshape(-1)
        for j in range(u.size):
            c[j] = alpha[j] * c[j] + i_t[j]
        if rows.size > 0:
            for b in range(batch):
                count = 0
                for n in range(num_neurons):
                    if planes[2, b, n] > 0:
                        index[count] = n
                        count += 1
                add_rows(index, count, rows, num_neurons, planes[1], b)
        else:
            for b in range(batch):
                for n in range(num_neurons):
                    planes[1, b, n] += diagonal[n] * planes[2, b, n]
        integrate(c, nothing, beta, theta, reset, u)
        fire(u, theta, fired)
        membranes[t], currents[t], spikes[t] = planes[0], planes[1], planes[2]


@jit
def _backward(
    grad_spikes, grads, fired, membranes, membrane, parameters, diagonal, weight, reset, mask, kind, slope, through,
    grad_u, grad_current,
):  # fmt: skip
    """``grads [3, B, N]``, of membrane, current and spike, become those before the first step."""
    num_steps, batch, num_neurons = membranes.shape
    alpha, beta, theta = parameters[0], parameters[1], parameters[2]
    g, h, feedback = grads[0].reshape(-1), grads[1].reshape(-1), grads[2].reshape(-1)
    arriving, x = np.empty_like(g), np.empty_like(g)
    one = g.dtype.type(1)
    for t in range(num_steps - 1, -1, -1):
        from_outside = grad_spikes[t].reshape(-1)
        for j in range(g.size):
            arriving[j] = from_outside[j] + feedback[j]
        x[:] = 0
        add_through_spike(arriving, one, membranes[t].reshape(-1), theta, kind, slope, x)
        for j in range(g.size):
            g[j] += x[j]
            h[j] += g[j]
        through[t] = x.reshape(batch, num_neurons)
        grad_u[t], grad_current[t] = grads[0], grads[1]
        if weight.size > 0:
            matmul(grads[1], num_neurons, weight, num_neurons, grads[2])
        else:
            for b in range(batch):
                for n in range(num_neurons):
                    grads[2, b, n] = diagonal[n] * grads[1, b, n]
        carry_back(fired[t].reshape(-1), beta, reset, g)
        for j in range(g.size):
            h[j] *= alpha[j]
        _rest(mask, t, grads)
    arriving[:] = feedback
    feedback[:] = 0
    add_through_spike(arriving, one, membrane.reshape(-1), theta, kind, slope, feedback)
    for j in range(g.size):
        g[j] += feedback[j]


def forward(
    current: Tensor,
    membrane: Tensor,
    synaptic: Tensor,
    parameters: Parameters,
    settings: Settings,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, membranes and currents ``[T, B, N]``."""
    spikes, membranes, currents = (current.new_empty(current.shape) for _ in range(3))
    planes = np.stack([membrane.detach().numpy(), synaptic.detach().numpy(), np.zeros_like(membrane.detach().numpy())])
    _forward(
        _array(current), planes, _tiles(parameters, membrane), *_weights(parameters.weight, transposed=True),
        RESET_CODES[settings.reset], mask_array(mask), spikes.numpy(), membranes.numpy(), currents.numpy(),
    )  # fmt: skip
    return spikes, membranes, currents


def backward(
    grads: tuple[Tensor, Tensor, Tensor],
    fired: Tensor,
    membranes: Tensor,
    membrane: Tensor,
    parameters: Parameters,
    settings: Settings,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """As the scan's own, in torch operations."""
    grad_spikes, *of_state = grads
    planes = torch.stack((*of_state, torch.zeros_like(membrane)))
    through, grad_u, grad_current = (torch.empty_like(membranes) for _ in range(3))
    _backward(
        _array(grad_spikes), planes.numpy(), _array(fired), _array(membranes), _array(membrane),
        _tiles(parameters, membrane), *_weights(parameters.weight, transposed=False), RESET_CODES[settings.reset],
        mask_array(mask), SURROGATE_CODES[settings.surrogate.name], settings.surrogate.k, through.numpy(),
        grad_u.numpy(), grad_current.numpy(),
    )  # fmt: skip
    grad_membrane, grad_synaptic, grad_spike = planes.unbind()
    return through, grad_u, grad_current, (grad_membrane, grad_synaptic, grad_spike)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy())


def _tiles(parameters: Parameters, membrane: Tensor) -> np.ndarray:
    """Alpha, beta and threshold of every cell ``[3, B * N]``."""
    values = (p.detach().numpy() for p in (parameters.alpha, parameters.beta, parameters.threshold))
    return np.stack([np.broadcast_to(value, membrane.shape).reshape(-1) for value in values])


def _weights(weight: Tensor, *, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The diagonal ``[N]`` and the matrix ``[N, N]``, of which the other one is empty."""
    values = weight.detach().numpy()
    if weight.dim() == 1:
        return np.ascontiguousarray(values), np.empty((0, 0), values.dtype)
    return np.empty(0, values.dtype), np.ascontiguousarray(values.T if transposed else values)
