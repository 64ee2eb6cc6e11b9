"""The LIF scan in plain torch operations: the reference, and what runs on a GPU.

Equations: :mod:`synrl_ray.snn.scan`.
Legend: E input step, each held for K = ``hold`` simulation steps, T = E*K, B batch, N neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate


def forward(
    current: Tensor, membrane: Tensor, beta: Tensor, threshold: Tensor, reset: str, mask: Tensor | None, hold: int
) -> tuple[Tensor, Tensor]:
    """Return membranes and spikes ``[T, B, N]``; three operations a step where no mask is given."""
    num_inputs, *plane = current.shape
    membranes = torch.empty(num_inputs * hold, *plane, dtype=current.dtype, device=current.device)
    spikes = torch.empty_like(membranes)
    keep = _keep(mask, hold, current.dtype)
    u, fired = membrane, (membrane > threshold).to(current.dtype)
    inputs = (i_e for i_e in current.unbind(0) for _ in range(hold))
    steps = zip(inputs, membranes.unbind(0), spikes.unbind(0), strict=True)
    for t, (i_t, u_t, s_t) in enumerate(steps):
        if keep is not None and t % hold == 0:
            u = u * keep[t]
            fired = (u > threshold).to(current.dtype)
        if reset == "zero":
            u = torch.addcmul(u, u, fired, value=-1)
        torch.addcmul(i_t, u, beta, out=u_t)
        if reset == "subtract":
            u_t.addcmul_(fired, threshold, value=-1)
        torch.gt(u_t, threshold, out=s_t)
        u, fired = u_t, s_t
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
    grad_u = torch.zeros_like(membranes) if grad_membranes is None else grad_membranes.clone()
    grad_threshold = torch.zeros_like(threshold)
    if grad_spikes is not None:
        through_spikes = grad_spikes * surrogate.derivative(membranes - threshold)
        grad_u += through_spikes
        grad_threshold = -_sum_to(through_spikes, threshold)

    before = torch.cat((membrane.unsqueeze(0), membranes[:-1]))
    keep = _keep(mask, hold, membranes.dtype)
    if keep is not None:
        before = before * keep
    resets = before > threshold
    decay = beta * ~resets if reset == "zero" else beta
    if keep is not None:
        decay = decay * keep
    grad_membrane = _carry_back(grad_u, decay)
    grad_current = grad_u if hold == 1 else grad_u.unflatten(0, (-1, hold)).sum(1)
    if not learned:
        return grad_current, grad_membrane, None, None

    kept = before.masked_fill(resets, 0) if reset == "zero" else before
    if reset == "subtract":
        grad_threshold = grad_threshold - _sum_to(grad_u * resets, threshold)
    return grad_current, grad_membrane, _sum_to(grad_u * kept, beta), grad_threshold


def _keep(mask: Tensor | None, hold: int, dtype: torch.dtype) -> Tensor | None:
    """``[E, B]`` mask → ``[T, B, 1]`` factors: 0 where a row starts an input step from rest, else 1."""
    if mask is None:
        return None
    keep = torch.ones(mask.shape[0], hold, mask.shape[1], dtype=dtype, device=mask.device)
    keep[:, 0] = (~mask).to(dtype)
    return keep.flatten(0, 1).unsqueeze(-1)


def _carry_back(grad_u: Tensor, decay: Tensor) -> Tensor:
    """Carry ``grad_u`` back through time in place; return the gradient before the first step."""
    per_step = decay.unbind(0) if decay.dim() == 3 else (decay,) * grad_u.shape[0]
    g = grad_u.unbind(0)
    for t in range(len(g) - 1, 0, -1):
        g[t - 1].addcmul_(g[t], per_step[t])
    return g[0] * per_step[0]


def _sum_to(grad: Tensor, parameter: Tensor) -> Tensor:
    """Reduce a ``[T, B, N]`` gradient to the shape of a scalar or per-neuron parameter."""
    return grad.sum() if parameter.dim() == 0 else grad.sum(dim=(0, 1))
