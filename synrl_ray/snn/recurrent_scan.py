r"""The recurrence of neurons that receive their own layer's last spikes, its whole time loop as one autograd node.

Legend: T simulation steps, B batch, N neurons.

.. math::
    r_t &= \Theta(\tilde u_{t-1} - \theta), \qquad c_t = \alpha\, \tilde c_{t-1} + i_t + W r_t \\
    u_t &= \beta\, \tilde u_{t-1} + c_t - r_t\,\theta         && \text{(reset="subtract")} \\
    u_t &= \beta\,(1 - r_t)\,\tilde u_{t-1} + c_t             && \text{(reset="zero")} \\
    u_t &= \beta\, \tilde u_{t-1} + c_t                       && \text{(reset="none")} \\
    s_t &= \Theta(u_t - \theta)

``u~`` and ``c~`` are the state with masked rows at rest, which have fired nothing: there ``r = 0``. The spikes of the
step before follow from the membrane, so they need no place in the state. ``W`` is a matrix, or with one-to-one synapses
a diagonal. LIF layers have ``alpha = 0``. For the resets ``"subtract"`` and ``"none"`` these are ``snntorch.RLeaky``
and ``snntorch.RSynaptic``; with ``"zero"``, those also clear what arrives in the step of the reset.

Backward, with :math:`g_t = dL/du_t`, :math:`h_t = dL/dc_t`, :math:`m_t = 0` on masked rows, else 1, and :math:`d_t =
\beta` (or :math:`\beta (1 - r_t)` for reset to zero); the reset is not differentiated, the recurrent spike is:

.. math::
    x_t &= \sigma'(u_t - \theta)\Big(\frac{\partial L}{\partial s_t} + m_{t+1} W^\top h_{t+1}\Big) \\
    g_t &= \frac{\partial L}{\partial u_t}\Big|_{direct} + x_t + m_{t+1} d_{t+1} g_{t+1}, \qquad
    h_t = \frac{\partial L}{\partial c_t}\Big|_{direct} + g_t + m_{t+1} \alpha h_{t+1} \\
    \frac{dL}{di_t} &= h_t, \qquad \frac{dL}{dW} = \sum_t h_t r_t^\top
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn.functional import spike
from synrl_ray.snn.listed import lists_if_few
from synrl_ray.snn.products import LinearProduct
from synrl_ray.snn.recurrent_parameters import Parameters, Settings
from synrl_ray.snn.scan import choose, in_one_precision


def recurrent_scan(
    current: Tensor,
    membrane: Tensor,
    synaptic: Tensor,
    parameters: Parameters,
    settings: Settings,
    mask: Tensor | None = None,
    kernel: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a recurrent layer over time.

    Args:
        current: from other layers ``[T, B, N]``.
        membrane, synaptic: membranes and synaptic currents before the first step ``[B, N]``.
        parameters: of the layer; without synaptic currents alpha is 0.
        settings: surrogate and reset.
        mask: ``[T, B]`` bool; true where a row starts from rest at that step.
        kernel: see :func:`synrl_ray.snn.lif_scan`; where that is Triton, the steps are taken by torch here.

    Returns:
        Spikes ``[T, B, N]``, and membranes and currents ``[B, N]`` after the last step.
    """
    current, membrane = in_one_precision(current, membrane, parameters.beta)
    synaptic = synaptic.to(membrane.dtype)
    chosen = choose(kernel, (current, membrane, synaptic, *parameters))
    if chosen == "functional":
        spikes, membranes, currents = _steps(
            current, membrane, synaptic, parameters, settings, mask, differentiable=True
        )
        return spikes, membranes[-1], currents[-1]
    spikes, last, after = _RecurrentScan.apply(
        current, membrane, synaptic, *parameters, settings, mask, chosen == "numba"
    )
    return spikes, last, after


def arriving(weight: Tensor, spikes: Tensor) -> Tensor:
    """What spikes ``[..., N]`` bring to the neurons of the same layer."""
    return spikes * weight if weight.dim() == 1 else torch.matmul(spikes, weight.t())


def _steps(
    current: Tensor,
    membrane: Tensor,
    synaptic: Tensor,
    parameters: Parameters,
    settings: Settings,
    mask: Tensor | None,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, membranes and currents ``[T, B, N]``: the recurrence as written, step by step."""
    alpha, beta, threshold, weight = parameters

    def fire(u: Tensor) -> Tensor:
        return spike(u - threshold, settings.surrogate) if differentiable else (u > threshold).to(u.dtype)

    u, c, r = membrane, synaptic, fire(membrane)
    steps = []
    for t, i_t in enumerate(current.unbind(0)):
        if mask is not None:
            keep = (~mask[t]).to(u.dtype).unsqueeze(-1)
            u, c, r = u * keep, c * keep, r * keep
        c = alpha * c + i_t + arriving(weight, r)
        if settings.reset == "zero":
            u = u * (1 - r.detach())
        u = beta * u + c
        if settings.reset == "subtract":
            u = u - r.detach() * threshold
        r = fire(u)
        steps.append((r, u, c))
    spikes, membranes, currents = (torch.stack(values) for values in zip(*steps, strict=True))
    return spikes, membranes, currents


class _RecurrentScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        membrane: Tensor,
        synaptic: Tensor,
        alpha: Tensor,
        beta: Tensor,
        threshold: Tensor,
        weight: Tensor,
        settings: Settings,
        mask: Tensor | None,
        compiled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parameters = Parameters(alpha, beta, threshold, weight)
        if compiled:
            from synrl_ray.snn import recurrent_kernel  # numba takes half a second to import

            spikes, membranes, currents = recurrent_kernel.forward(
                current, membrane, synaptic, parameters, settings, mask
            )
        else:
            spikes, membranes, currents = _steps(
                current, membrane, synaptic, parameters, settings, mask, differentiable=False
            )
        ctx.save_for_backward(spikes, membranes, currents, membrane, synaptic, mask, *parameters)
        ctx.settings, ctx.compiled = settings, compiled
        return spikes, membranes[-1].clone(), currents[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, grad_membrane: Tensor, grad_synaptic: Tensor) -> Any:
        spikes, membranes, currents, membrane, synaptic, mask, *own = ctx.saved_tensors
        parameters = Parameters(*own)
        if ctx.compiled:
            from synrl_ray.snn import recurrent_kernel

            run = recurrent_kernel.backward
        else:
            run = _backward

        def before(first: Tensor, later: Tensor) -> Tensor:
            """What a step starts from ``[T, B, N]``."""
            values = torch.cat((first.unsqueeze(0), later[:-1]))
            return values if mask is None else values.masked_fill(mask.unsqueeze(-1), 0.0)

        fired = before((membrane > parameters.threshold).to(membrane.dtype), spikes)
        through, grad_u, grad_current, grad_state = run(
            (grad_spikes, grad_membrane, grad_synaptic), fired, membranes, membrane, parameters, ctx.settings, mask
        )
        need_alpha, need_beta, need_threshold, need_weight = ctx.needs_input_grad[3:7]
        scalars: list[Tensor | None] = [None] * 3
        if need_alpha:
            scalars[0] = _sum_to(grad_current * before(synaptic, currents), parameters.alpha)
        if need_beta:
            kept = grad_u * (1 - fired) if ctx.settings.reset == "zero" else grad_u
            scalars[1] = _sum_to(kept * before(membrane, membranes), parameters.beta)
        if need_threshold:  # the state before the first step acts through its spike as well
            total = through + grad_u * fired if ctx.settings.reset == "subtract" else through
            scalars[2] = -_sum_to(total, parameters.threshold) - _sum_to(grad_state[2], parameters.threshold)
        grad_weight = None
        if need_weight:
            grad_weight = _grad_weight(grad_current, fired, parameters.weight, ctx.compiled)
        return grad_current, grad_state[0], grad_state[1], *scalars, grad_weight, None, None, None


def _backward(
    grads: tuple[Tensor, Tensor, Tensor],
    fired: Tensor,
    membranes: Tensor,
    membrane: Tensor,
    parameters: Parameters,
    settings: Settings,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Through spikes, of membranes and of currents ``[T, B, N]``; of membrane, current and spike before the first."""
    grad_spikes, g, h = grads
    alpha, beta, threshold, weight = parameters
    slope = settings.surrogate.derivative(membranes - threshold)
    through, grad_u, grad_current = (torch.empty_like(membranes) for _ in range(3))
    feedback = torch.zeros_like(membrane)
    for t in range(membranes.shape[0] - 1, -1, -1):
        through[t] = slope[t] * (grad_spikes[t] + feedback)
        g = g + through[t]
        h = h + g
        grad_u[t], grad_current[t] = g, h
        feedback = h * weight if weight.dim() == 1 else h @ weight
        g = g * beta * (1 - fired[t]) if settings.reset == "zero" else g * beta
        h = h * alpha
        if mask is not None:
            g, h, feedback = (values.masked_fill(mask[t].unsqueeze(-1), 0.0) for values in (g, h, feedback))
    x = feedback * settings.surrogate.derivative(membrane - threshold)
    return through, grad_u, grad_current, (g + x, h, x)


def _grad_weight(grad: Tensor, fired: Tensor, weight: Tensor, compiled: bool) -> Tensor:
    """Of one weight for each neuron ``[N]``, or of all to all ``[N, N]``; where spikes are few, from their lists."""
    if weight.dim() == 1:
        return (grad * fired).sum((0, 1))
    rows, spikes = grad.flatten(0, 1), fired.flatten(0, 1)
    product = LinearProduct(*reversed(weight.shape))
    if compiled and product.takes_lists(weight.dtype):
        lists = lists_if_few(spikes)
        if lists is not None:
            return product.weight_gradient(rows.contiguous(), lists, weight)
    return rows.t() @ spikes


def _sum_to(product: Tensor, like: Tensor) -> Tensor:
    """Reduce ``[..., N]`` to the shape of a scalar or per-neuron parameter."""
    return product.sum() if like.dim() == 0 else product.flatten(0, -2).sum(0)
