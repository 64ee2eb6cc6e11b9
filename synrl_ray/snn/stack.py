r"""A whole feed-forward spiking network as one autograd node, for the CPU.

Linear map → LIF → … → linear map → leaky readout, with the equations of :mod:`synrl_ray.snn.scan` and the chain rule
written out. It computes what the layers compute one by one, which stays the reference and the path for
everything that :func:`fits` turns away. What it saves: an autograd node per operation, copies between layers (the
membranes are written over the input current, the gradients over each other) and memory returned to the
operating system between steps (one allocation holds all that backward needs).

The readout only wants the spikes of an observation summed with weights :math:`\beta^{K-1-k}`, so the last spiking
layer emits that sum and no spikes, and its gradient is spread over the K steps inside the kernel.

Legend: E observations of K simulation steps, T = E*K, B batch, N neurons, O readout neurons, S state size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn.surrogate import Surrogate


@dataclass(frozen=True)
class Plan:
    """The structure around the tensors.

    Args:
        sizes: neurons of every layer, readout included.
        period: K, simulation steps per observation.
        resets, surrogates: of every spiking layer.
        pool: ``[K]`` weights with which the readout sums the spikes of an observation.
        bias_gain: their sum, which scales the readout's bias.
        readout_decay: of the readout's membrane, per observation.
    """

    sizes: tuple[int, ...]
    period: int
    resets: tuple[str, ...]
    surrogates: tuple[Surrogate, ...]
    pool: Tensor
    bias_gain: float
    readout_decay: Tensor


@dataclass(frozen=True)
class Layer:
    """The tensors of one spiking layer."""

    weight: Tensor
    bias: Tensor
    beta: Tensor
    threshold: Tensor


def fits(inputs: Tensor, state: Tensor | None, weight: Tensor) -> bool:
    """Whether the fused path can take these tensors: plain, on the CPU, in one floating type."""
    return (
        inputs.device.type == weight.device.type == "cpu"
        and inputs.dtype in (torch.float32, torch.float64)
        and weight.dtype == inputs.dtype
        and (state is None or (state.dtype == inputs.dtype and state.device.type == "cpu"))
        and inputs.numel() > 0
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
    )


def spiking_stack(
    plan: Plan,
    layers: Sequence[Layer],
    readout_weight: Tensor,
    readout_bias: Tensor,
    inputs: Tensor,
    state: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return outputs ``[E, B, O]`` and the state ``[B, S]`` after the last observation.

    Args:
        plan: the structure.
        layers: the tensors of every spiking layer.
        readout_weight, readout_bias: ``[O, N]`` and ``[O]``.
        inputs: ``[E, B, F]``.
        state: all membranes side by side ``[B, S]``; ``None`` is rest.
        mask: ``[E, B]`` bool, true where a row starts an observation from rest.
    """
    if torch.is_grad_enabled():
        flat = [tensor for layer in layers for tensor in (layer.weight, layer.bias, layer.beta, layer.threshold)]
        outputs, final = _Stack.apply(plan, inputs, state, mask, readout_weight, readout_bias, *flat)
        return outputs, final
    outputs, final, _, _ = _forward(plan, layers, readout_weight, readout_bias, inputs, state, mask)
    return outputs, final


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        inputs: Tensor,
        state: Tensor | None,
        mask: Tensor | None,
        readout_weight: Tensor,
        readout_bias: Tensor,
        *flat: Tensor,
    ) -> tuple[Tensor, Tensor]:
        outputs, final, membranes, signals = _forward(
            plan, _layers(flat), readout_weight, readout_bias, inputs, state, mask
        )
        ctx.save_for_backward(inputs, state, mask, readout_weight, *flat, *membranes, *signals)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        return outputs, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_final: Tensor | None) -> Any:  # type: ignore[override]
        from synrl_ray.snn.numba_kernel import scan_back_into

        plan: Plan = ctx.plan
        inputs, state, mask, readout_weight, *rest = ctx.saved_tensors
        _, need_inputs, need_state, _, need_readout_weight, need_readout_bias, *needed = ctx.needs_input_grad
        depth = len(plan.resets)
        layers, membranes, signals = _layers(rest[: 4 * depth]), rest[4 * depth : 5 * depth], rest[5 * depth :]
        batch, dtype = inputs.shape[1], inputs.dtype
        before, grad_finals = _split(plan, state), _split(plan, grad_final)
        grad_before = [torch.empty(batch, n, dtype=dtype) if need_state else None for n in plan.sizes]

        g = _readout_backward(plan, grad_outputs, grad_finals[-1], grad_before[-1], mask, inputs.shape[0], batch)
        grad_readout_weight = g.t() @ _rows(signals[-1]) if need_readout_weight else None
        grad_readout_bias = g.sum(0).mul_(plan.bias_gain) if need_readout_bias else None
        through = (g @ readout_weight).view(-1, batch, plan.sizes[-2])
        grad_inputs = None
        grads: list[Tensor | None] = [None] * len(needed)
        for i in range(depth - 1, -1, -1):
            layer, is_last, hold = layers[i], i == depth - 1, plan.period if i == 0 else 1
            need_weight, need_bias, need_beta, need_threshold = needed[4 * i : 4 * i + 4]
            in_place = hold == 1 and not is_last
            grad_current = through if in_place else _like(membranes[i], membranes[i].shape[0] // hold)
            grads[4 * i + 2], grads[4 * i + 3] = scan_back_into(
                grad_current,
                grad_before[i],
                grad_spikes=through,
                grad_final=grad_finals[i],
                membranes=membranes[i],
                membrane=before[i],
                beta=layer.beta,
                threshold=layer.threshold,
                reset=plan.resets[i],
                mask=mask,
                hold=hold,
                period=plan.period,
                pool=plan.pool if is_last else None,
                surrogate=plan.surrogates[i],
                learned=need_beta or need_threshold,
            )
            g = _rows(grad_current)
            if need_weight:
                grads[4 * i] = g.t() @ _rows(inputs if i == 0 else signals[i - 1])
            if need_bias:
                grads[4 * i + 1] = g.sum(0)
            if i > 0:
                through = (g @ layer.weight).view(-1, batch, plan.sizes[i - 1])
            elif need_inputs:
                grad_inputs = (g @ layer.weight).view_as(inputs)
        grad_state = torch.cat(grad_before, dim=1) if need_state else None  # type: ignore[arg-type]
        return None, grad_inputs, grad_state, None, grad_readout_weight, grad_readout_bias, *grads


def _forward(
    plan: Plan,
    layers: Sequence[Layer],
    readout_weight: Tensor,
    readout_bias: Tensor,
    inputs: Tensor,
    state: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Outputs, final state, and of every spiking layer the membranes and what it hands on."""
    from synrl_ray.snn.numba_kernel import scan_into  # numba takes half a second to import

    num_observations, batch, _ = inputs.shape
    before = _split(plan, state)
    membranes, signals = _allocate(plan, num_observations, batch, inputs.dtype)
    finals = []
    signal = inputs
    for i, layer in enumerate(layers):
        hold = plan.period if i == 0 else 1
        current = membranes[i] if hold == 1 else _like(membranes[i], num_observations)
        torch.addmm(layer.bias, _rows(signal), layer.weight.t(), out=_rows(current))
        final = scan_into(
            membranes[i],
            signals[i],
            current=current,
            membrane=before[i],
            beta=layer.beta,
            threshold=layer.threshold,
            reset=plan.resets[i],
            mask=mask,
            hold=hold,
            period=plan.period,
            pool=plan.pool if i == len(layers) - 1 else None,
        )
        finals.append(final)
        signal = signals[i]
    outputs = torch.addmm(readout_bias, _rows(signal), readout_weight.t(), beta=plan.bias_gain)
    outputs = outputs.view(num_observations, batch, -1)
    if state is None and num_observations == 1:
        final = outputs[0]
    else:
        decay = plan.readout_decay
        final = scan_into(
            outputs, torch.empty_like(outputs), current=outputs, membrane=before[-1], beta=decay, threshold=decay,
            reset="none", mask=mask, hold=1, period=1,
        )  # fmt: skip
    return outputs, torch.cat((*finals, final), dim=1), membranes, signals


def _readout_backward(
    plan: Plan,
    grad_outputs: Tensor | None,
    grad_final: Tensor | None,
    grad_before: Tensor | None,
    mask: Tensor | None,
    num_observations: int,
    batch: int,
) -> Tensor:
    """Gradient of the readout's current, ``[E*B, O]``; fills ``grad_before``."""
    from synrl_ray.snn.numba_kernel import scan_back_into

    if grad_outputs is None:
        grad_outputs = plan.pool.new_zeros(num_observations, batch, plan.sizes[-1])
    if grad_final is None and grad_before is None and num_observations == 1:
        return grad_outputs.reshape(batch, -1)
    grad_current = torch.empty(grad_outputs.shape, dtype=grad_outputs.dtype)
    scan_back_into(
        grad_current, grad_before, grad_membranes=grad_outputs, grad_final=grad_final, membranes=grad_current,
        membrane=None, beta=plan.readout_decay, threshold=plan.readout_decay, reset="none", mask=mask, hold=1,
        period=1, surrogate=Surrogate(), learned=False,
    )  # fmt: skip
    return grad_current.view(num_observations * batch, -1)


def _allocate(plan: Plan, num_observations: int, batch: int, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """Membranes ``[T, B, N]`` and outgoing signals (spikes; the last one pooled) from one allocation."""
    steps = num_observations * plan.period
    lengths = [steps] * (2 * len(plan.resets) - 1) + [num_observations]
    sizes = plan.sizes[:-1] * 2
    slab = torch.empty(sum(t * batch * n for t, n in zip(lengths, sizes, strict=True)), dtype=dtype)
    parts = slab.split([t * batch * n for t, n in zip(lengths, sizes, strict=True)])
    planes = [part.view(t, batch, n) for part, t, n in zip(parts, lengths, sizes, strict=True)]
    return planes[: len(plan.resets)], planes[len(plan.resets) :]


def _split(plan: Plan, state: Tensor | None) -> list[Tensor | None]:
    if state is None:
        return [None] * len(plan.sizes)
    return [part.contiguous() for part in state.detach().split(list(plan.sizes), dim=1)]


def _layers(flat: Sequence[Tensor]) -> list[Layer]:
    return [Layer(*flat[i : i + 4]) for i in range(0, len(flat), 4)]


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1])


def _like(planes: Tensor, length: int) -> Tensor:
    return torch.empty(length, *planes.shape[1:], dtype=planes.dtype)
