r"""The recurrence of LIF neurons with an adaptive threshold, its whole time loop as one autograd node.

Legend: T simulation steps, B batch, N neurons.

.. math::
    a_t &= \rho\, a_{t-1} + s_{t-1}, \qquad A_t = \theta + \kappa\, a_t \\
    u_t &= \beta\, u_{t-1} + i_t - s_{t-1}\,\theta \quad\text{(the reset is not differentiated)} \\
    s_t &= \Theta(u_t - A_t)

A masked row starts the step with ``u = a = s = 0``. What a step needs from the spike before it follows from
``u`` and ``a``, so these two are the whole state.

Backward, with ``x_t = sigma'(u_t - A_t) (dL/ds_t + dL/da_{t+1})`` and masked rows passing nothing back:

.. math::
    \frac{dL}{du_t} = \frac{\partial L}{\partial u_t} + x_t + \beta \frac{dL}{du_{t+1}}, \qquad
    \frac{dL}{da_t} = \frac{\partial L}{\partial a_t} - \kappa\, x_t + \rho \frac{dL}{da_{t+1}}

References:
    Bellec, Salaj, Subramoney, Legenstein & Maass (2018), "Long short-term memory and learning-to-learn in networks
    of spiking neurons", NeurIPS.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn.functional import spike
from synrl_ray.snn.scan import choose, in_one_precision
from synrl_ray.snn.surrogate import Surrogate

Parameters = tuple[Tensor, Tensor, Tensor, Tensor]  # beta, threshold, rho, kappa: scalar or [N]
_MODULES = {"numba": "synrl_ray.snn.adaptive_kernel", "triton": "synrl_ray.snn.adaptive_triton"}
"""Of compiled kernels, imported at their first use."""


def adaptive_scan(
    current: Tensor,
    membrane: Tensor,
    adaptation: Tensor,
    parameters: Parameters,
    surrogate: Surrogate,
    mask: Tensor | None = None,
    kernel: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, membranes and adaptations ``[T, B, N]``.

    Args:
        current: input current ``[T, B, N]``.
        membrane, adaptation: before the first step ``[B, N]``.
        parameters: beta, threshold, rho (decay of the adaptation) and kappa (its strength), scalar or ``[N]``.
        surrogate: what replaces the spike's derivative.
        mask: ``[T, B]`` bool; true where a row starts from rest at that step.
        kernel: see :func:`synrl_ray.snn.lif_scan`.
    """
    current, membrane = in_one_precision(current, membrane, parameters[0])
    adaptation = adaptation.to(membrane.dtype)
    chosen = choose(kernel, (current, membrane, adaptation, *parameters))
    if chosen == "functional":
        return _steps(current, membrane, adaptation, parameters, surrogate, mask, differentiable=True)
    spikes, membranes, adaptations = _AdaptiveScan.apply(
        current, membrane, adaptation, *parameters, surrogate, mask, _MODULES.get(chosen)
    )
    return spikes, membranes, adaptations


def _steps(
    current: Tensor,
    membrane: Tensor,
    adaptation: Tensor,
    parameters: Any,
    surrogate: Surrogate,
    mask: Tensor | None,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The recurrence as written, step by step."""
    beta, threshold, rho, kappa = parameters
    u, a = membrane, adaptation
    s = spike(u - (threshold + kappa * a), surrogate) if differentiable else (u > threshold + kappa * a).to(u.dtype)
    spikes, membranes, adaptations = [], [], []
    for t, i_t in enumerate(current.unbind(0)):
        if mask is not None:
            keep = (~mask[t]).to(u.dtype).unsqueeze(-1)
            u, a, s = u * keep, a * keep, s * keep
        a = rho * a + s
        u = beta * u + i_t - s.detach() * threshold
        x = u - (threshold + kappa * a)
        s = spike(x, surrogate) if differentiable else (x > 0).to(u.dtype)
        spikes.append(s)
        membranes.append(u)
        adaptations.append(a)
    return torch.stack(spikes), torch.stack(membranes), torch.stack(adaptations)


class _AdaptiveScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        membrane: Tensor,
        adaptation: Tensor,
        beta: Tensor,
        threshold: Tensor,
        rho: Tensor,
        kappa: Tensor,
        surrogate: Surrogate,
        mask: Tensor | None,
        compiled: str | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parameters = (beta, threshold, rho, kappa)
        if compiled is not None:
            results = import_module(compiled).forward(current, membrane, adaptation, parameters, mask)
        else:
            results = _steps(current, membrane, adaptation, parameters, surrogate, mask, differentiable=False)
        ctx.save_for_backward(*results, membrane, adaptation, mask, *parameters)
        ctx.surrogate, ctx.compiled = surrogate, compiled
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, grad_membranes: Tensor, grad_adaptations: Tensor) -> Any:
        run = _backward if ctx.compiled is None else import_module(ctx.compiled).backward
        grads = run(ctx.saved_tensors, grad_spikes, grad_membranes, grad_adaptations, ctx.surrogate)
        return *grads, None, None, None


def _backward(
    saved: Any, grad_spikes: Tensor, grad_membranes: Tensor, grad_adaptations: Tensor, surrogate: Surrogate
) -> tuple[Tensor, ...]:
    spikes, membranes, adaptations, membrane, adaptation, mask, beta, threshold, rho, kappa = saved
    slope = surrogate.derivative(membranes - (threshold + kappa * adaptations))
    started = (membrane > threshold + kappa * adaptation).to(membrane.dtype)
    grad_current = torch.empty_like(membranes)
    grad_u, grad_a, grad_s = (torch.zeros_like(membrane) for _ in range(3))
    sums = [torch.zeros_like(membrane) for _ in range(4)]
    for t in range(membranes.shape[0] - 1, -1, -1):
        x = slope[t] * (grad_spikes[t] + grad_s)
        grad_u = grad_u + grad_membranes[t] + x
        grad_a = grad_a + grad_adaptations[t] - kappa * x
        grad_current[t] = grad_u
        u, a, s = (membranes[t - 1], adaptations[t - 1], spikes[t - 1]) if t else (membrane, adaptation, started)
        keep = 1.0 if mask is None else (~mask[t]).to(u.dtype).unsqueeze(-1)
        sums[0] += grad_u * u * keep
        sums[1] -= x + grad_u * s * keep
        sums[2] += grad_a * a * keep
        sums[3] -= x * adaptations[t]
        grad_u, grad_a, grad_s = grad_u * beta * keep, grad_a * rho * keep, grad_a * keep
    # the state before the first step acts through its spike as well
    x = surrogate.derivative(membrane - (threshold + kappa * adaptation)) * grad_s
    sums[1] -= x
    sums[3] -= x * adaptation
    shaped = (
        total.sum() if like.dim() == 0 else total.flatten(0, -2).sum(0)
        for total, like in zip(sums, (beta, threshold, rho, kappa), strict=True)
    )
    return grad_current, grad_u + x, grad_a - kappa * x, *shaped
