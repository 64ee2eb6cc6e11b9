"""Fully connected layers on dense spikes, by their lists where these are few: for layers that are called one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from synrl_ray.snn.plain import are_dense, is_plain, is_watched
from synrl_ray.snn.products import DTYPES, LinearProduct, most_fired
from synrl_ray.snn.spike_lists import SpikeLists


def called(layer: nn.Module, signal: Tensor) -> Tensor:
    """``layer(signal)``, to rounding. Ones and zeros that are few are summed as lists, where nobody could tell.

    Args:
        layer: any; what is no plain ``nn.Linear`` is called.
        signal: ``[..., N]``.
    """
    if not is_plain(layer, nn.Linear) or is_watched() or signal.dtype not in DTYPES:
        return _output(layer, signal)
    assert isinstance(layer, nn.Linear)
    product = LinearProduct(layer.in_features, layer.out_features)
    tensors = (layer.weight, layer.bias, signal)
    fits = signal.shape[-1] == layer.in_features and product.takes_lists(signal.dtype)
    if not fits or not are_dense(tensors, signal.dtype) or layer.weight.shape != product.weight_shape:
        return _output(layer, signal)
    lists = lists_if_few(signal.detach().reshape(-1, layer.in_features))
    if lists is None:
        return _output(layer, signal)
    currents: Tensor = _Listed.apply(product, lists, signal, layer.weight, layer.bias)
    return currents


def lists_if_few(signal: Tensor, num_pixels: int = 1) -> SpikeLists | None:
    """The lists of ``[R, N]``; ``None`` where they are more than pays, or where not all is one or zero."""
    from synrl_ray.snn.event_kernels import count_ones  # numba takes half a second to import

    signal = signal.contiguous()
    count = count_ones(signal.reshape(-1).numpy())
    return SpikeLists.of(signal, num_pixels) if 0 <= count <= most_fired() * signal.numel() else None


def _output(layer: nn.Module, signal: Tensor) -> Tensor:
    output: Tensor = layer(signal)
    return output


class _Listed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, product: LinearProduct, lists: SpikeLists, signal: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.save_for_backward(lists.index, lists.ends, signal, weight)
        ctx.product = product
        return product.forward(lists, weight).add_(bias).view(*signal.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        index, ends, signal, weight = ctx.saved_tensors
        _, _, need_signal, need_weight, need_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1]).contiguous()
        grads: list[Tensor | None] = [None] * 3
        if need_signal:
            grads[0] = (rows @ weight).view(signal.shape)
        if need_weight and torch.is_grad_enabled():  # which is to be differentiated once more
            grads[1] = rows.t() @ signal.reshape(-1, signal.shape[-1])
        elif need_weight:
            grads[1] = ctx.product.weight_gradient(rows, SpikeLists(index, ends), weight)
        if need_bias:
            grads[2] = rows.sum(0)
        return None, None, *grads
