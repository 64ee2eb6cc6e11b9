r"""Spiking layers of many tasks, with their backward passes written out.

With u the membranes, :math:`\sigma'` the surrogate derivative at :math:`u_t - \theta` and :math:`G_t` the gradient by
the spikes, the inner gradient by the current is

.. math:: g_t = \sigma'(u_t - \theta)\, G_t + \beta\, g_{t+1}

and that of the meta-gradient :math:`o_t` passes back through it as

.. math::
    h_t = o_t + \beta\, h_{t-1}, \qquad
    \frac{\partial}{\partial G_t} = h_t\, \sigma'(u_t - \theta), \qquad
    \frac{\partial}{\partial u_t} = h_t\, G_t\, \sigma''(u_t - \theta)

(reset by subtraction, not differentiated, as in :mod:`synrl_ray.snn.scan`).

Legend: M tasks, K samples, T simulation steps, E steps of the current (T, or 1 where it is held), P = numbers of a
task's K samples.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.spiking_layers import SampleLIF, StepMean
from synrl_ray.snn import LIF, Surrogate, lif_scan


class _Kept(NamedTuple):
    membranes: Tensor
    shape: torch.Size
    """Of one step's spikes: ``[M, K, ...]``."""


class WrittenOutSampleLIF:
    """:class:`synrl_ray.meta.spiking_layers.SampleLIF` of M tasks; the forward pass is the fused scan."""

    def __init__(self, layer: SampleLIF) -> None:
        neuron = layer.neuron
        self._steps = 1 if layer.holds else layer.num_steps
        self._hold = layer.num_steps if layer.holds else 1
        self._beta, self._threshold = _number(neuron.beta), _number(neuron.threshold)
        self._surrogate = neuron.surrogate

    @staticmethod
    def takes(neuron: LIF) -> bool:
        """Whether the equations above are those of the neuron."""
        fixed = not isinstance(neuron.beta, nn.Parameter) and not isinstance(neuron.threshold, nn.Parameter)
        return (
            fixed
            and neuron.beta.dim() == neuron.threshold.dim() == 0
            and neuron.reset == "subtract"
            and not neuron.graded
        )

    def forward(self, p: Parameters, x: Tensor) -> tuple[Tensor, _Kept]:
        """``[M, E * K, ...]`` → ``[M, T * K, ...]``."""
        current = _steps_first(x, self._steps)
        spikes, membranes = lif_scan(
            current,
            current.new_zeros(current.shape[1:]),
            beta=current.new_tensor(self._beta),
            threshold=current.new_tensor(self._threshold),
            surrogate=self._surrogate,
            hold=self._hold,
        )
        shape = torch.Size((x.shape[0], x.shape[1] // self._steps, *x.shape[2:]))
        return _tasks_first(spikes, shape), _Kept(membranes, shape)

    def backward(self, p: Parameters, kept: _Kept, grad: Tensor, need_input: bool) -> tuple[Tensor, Parameters]:
        """Return the gradient of the current."""
        if not need_input:
            return grad, {}
        by_spikes = _steps_first(grad, len(kept.membranes))
        found = _InnerGradient.apply(
            by_spikes, kept.membranes, self._beta, self._threshold, self._surrogate, self._hold > 1
        )
        return _tasks_first(found, kept.shape), {}


class _InnerGradient(torch.autograd.Function):
    """From the spikes' gradient ``[T, M, P]`` and membranes ``[T, M, P]`` to the current's ``[E, M, P]``."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, membranes: Tensor, beta: float, threshold: float, surrogate: Surrogate, holds: bool
    ) -> Tensor:
        slope = surrogate.derivative(membranes - threshold)
        ctx.save_for_backward(grad, membranes, slope)
        ctx.settings = (beta, threshold, surrogate, holds)
        result = grad * slope
        for t in range(len(result) - 2, -1, -1):
            result[t].add_(result[t + 1], alpha=beta)
        return result.sum(0, keepdim=True) if holds else result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        grad, membranes, slope = ctx.saved_tensors
        beta, threshold, surrogate, holds = ctx.settings
        trace = outer.expand_as(grad).clone() if holds else outer.clone()
        for t in range(1, len(trace)):
            trace[t].add_(trace[t - 1], alpha=beta)
        by_grad = trace * slope if ctx.needs_input_grad[0] else None
        by_membranes = None
        if ctx.needs_input_grad[1]:
            by_membranes = surrogate.curvature(membranes - threshold).mul_(grad).mul_(trace)
        return by_grad, by_membranes, None, None, None, None


class WrittenOutStepMean:
    """:class:`synrl_ray.meta.spiking_layers.StepMean` of M tasks."""

    def __init__(self, layer: StepMean) -> None:
        self._weights = layer.weights

    def forward(self, p: Parameters, x: Tensor) -> tuple[Tensor, None]:
        """``[M, T * K, F]`` → ``[M, K, F]``."""
        steps = x.unflatten(1, (len(self._weights), -1))
        return torch.einsum("t,mtkf->mkf", self._weights.to(x), steps), None

    def backward(self, p: Parameters, kept: None, grad: Tensor, need_input: bool) -> tuple[Tensor, Parameters]:
        """Return the input's gradient."""
        return torch.einsum("t,mkf->mtkf", self._weights.to(grad), grad).flatten(1, 2), {}


def _number(value: Tensor) -> float:
    """A scalar's number; NaN on torch's meta device, which has none."""
    return math.nan if value.is_meta else float(value)


def _steps_first(x: Tensor, num_steps: int) -> Tensor:
    """``[M, E * K, ...]`` → ``[E, M, P]``, each sample in the order of channels last."""
    rows = x.movedim(2, -1).reshape(x.shape[0], num_steps, -1)
    return rows.transpose(0, 1).contiguous()


def _tasks_first(x: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of :func:`_steps_first`; ``shape`` is that of one step, ``[M, K, ...]``."""
    last = (shape[0], -1, *shape[3:], shape[2])
    return x.transpose(0, 1).reshape(last).movedim(-1, 2)
