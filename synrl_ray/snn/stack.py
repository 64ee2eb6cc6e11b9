r"""A whole feed-forward spiking network as one autograd node, for the CPU.

Linear map → LIF → … → linear map → leaky readout, with the equations of :mod:`synrl_ray.snn.scan` and the chain rule
written out. It computes what the layers compute one by one, which stays the reference and the path for everything
that :func:`synrl_ray.snn.fusion.fused_plan` turns away. What it saves: an autograd node per operation, copies between
layers (the membranes are written over the input current, the gradients over each other) and memory returned to the
operating system between calls (one allocation holds all that backward needs).

The readout only wants the spikes of an observation summed with weights :math:`\beta^{K-1-k}`, so the last spiking
layer emits that sum and no spikes, and its gradient is spread over the K steps inside the kernel.

Legend: E observations of K simulation steps, T = E*K, B batch, N neurons, O readout neurons, S state size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from synrl_ray.snn.products import SMALL_WIDTH
from synrl_ray.snn.stack_plan import Plan

SMALL_ROWS = 512  # more rows than this, or wider layers, are faster product by product


def spiking_stack(
    plan: Plan, inputs: Tensor, state: Tensor | None, mask: Tensor | None, parameters: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Return outputs ``[E, B, O]`` and the state ``[B, S]`` after the last observation.

    Args:
        plan: the structure.
        inputs: ``[E, B, F]``, or ``[E * K, B, F]`` where spikes come in; of no more than their shape
            where the plan has their lists.
        state: all membranes side by side ``[B, S]``; ``None`` is rest.
        mask: ``[E, B]`` bool, true where a row starts an observation from rest.
        parameters: weight and bias of the readout, then weight, bias, beta and threshold of every spiking layer.
    """
    passes = _passes(plan, inputs)
    if torch.is_grad_enabled():
        outputs, final = _Stack.apply(passes, plan, inputs, state, mask, *parameters)
    else:
        outputs, final, _ = passes.forward_pass(plan, inputs, state, mask, parameters, keep=False)
    return outputs, final


def _passes(plan: Plan, inputs: Tensor) -> Any:
    """The module with the two passes that suits the size of the network and of its inputs."""
    num_observations, batch, num_features = inputs.shape
    is_narrow = plan.small is not None and max(num_features, *plan.sizes) <= SMALL_WIDTH
    is_small = is_narrow and num_observations * plan.period * batch <= SMALL_ROWS
    return _load("synrl_ray.snn.small_passes" if is_small else "synrl_ray.snn.stack_passes")


@cache
def _load(name: str) -> Any:
    """Import at the first use: it brings in numba, which takes half a second."""
    return import_module(name)


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, passes: Any, plan: Plan, inputs: Tensor, state: Tensor | None, mask: Tensor | None,
        *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        outputs, final, kept = passes.forward_pass(plan, inputs, state, mask, parameters, keep=True)
        keeps_inputs, needed = _kept_by_layers(ctx.needs_input_grad[2:])
        # Torch finds changes in place of what is saved. ``data`` is inputs that no layer would have saved.
        guarded = [parameters[i] for i in needed]
        ctx.save_for_backward(inputs if keeps_inputs else inputs.data, state, mask, *kept, *guarded)
        ctx.passes, ctx.plan, ctx.parameters, ctx.num_kept = passes, plan, parameters, 3 + len(kept)
        ctx.set_materialize_grads(False)
        return outputs, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_final: Tensor | None) -> Any:
        _, *needs = ctx.needs_input_grad
        if grad_outputs is None and grad_final is None:
            return (None, *(None for _ in needs))
        saved = ctx.saved_tensors[: ctx.num_kept]
        return None, *ctx.passes.backward_pass(ctx.plan, ctx.parameters, saved, grad_outputs, grad_final, needs)


@lru_cache(maxsize=256)
def _kept_by_layers(needs: Sequence[bool]) -> tuple[bool, tuple[int, ...]]:
    """What the layers one by one would save for backward: whether the inputs, and which of the parameters.

    A linear map saves its input for its weight's gradient, and its weight where its input has one. Neurons save decay
    and threshold where anything before them or they themselves have a gradient.

    Args:
        needs: whether inputs, state, mask and every parameter need a gradient.
    """
    flows, by_state, _, _, _, *hidden = needs
    kept = []
    for first in range(0, len(hidden), 4):
        weight, bias, beta, threshold = hidden[first : first + 4]
        if flows:
            kept.append(2 + first)
        flows = flows or by_state or weight or bias or beta or threshold
        if flows:
            kept += [4 + first, 5 + first]
    return hidden[0], (*kept, 0) if flows else tuple(kept)
