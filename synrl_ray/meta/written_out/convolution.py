"""A convolutional block of many tasks, with its backward pass written out.

Convolution → batch norm → rectifier → max-pool; all but the convolution is :mod:`synrl_ray.meta.written_out.norm`.
Batch norm takes the convolution's bias away again: it has no effect, and its gradients are zero.

Maps lie in memory with channels last, where convolution and pooling of torch are fastest on a CPU.

Legend: M tasks, K samples, C channels in, O channels out, H height, W width, P = H * W.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synrl_ray.meta.engine import Parameters
from synrl_ray.meta.written_out.norm import Pooled, norm_pool, norm_pool_gradient

UNFOLDED_UP_TO = 32  # numbers in a filter; up to there the first layer is faster as a matrix product of patches


class _Kept(NamedTuple):
    inputs: Tensor
    maps: Tensor
    pooled: Pooled


class WrittenOutConvBlock:
    """:class:`synrl_ray.meta.networks.ConvBlock` of M tasks.

    Args:
        block: the block.
        is_first: whether its input is data, whose gradient nobody asks for.
        rectifies: whether it has a rectifier.
    """

    def __init__(self, block: nn.Sequential, is_first: bool, rectifies: bool = True) -> None:
        convolution, norm = block[0], block[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        self._eps, self._rectifies = norm.eps, rectifies
        self._is_unfolded = is_first and convolution.weight[0].numel() <= UNFOLDED_UP_TO

    def forward(self, p: Parameters, x: Tensor) -> tuple[Tensor, _Kept]:
        """``[M, K, C, H, W]`` → ``[M, K, O, H // 2, W // 2]``."""
        num_tasks, batch, _, height, width = x.shape
        x, maps = self._maps(p["0.weight"], x)
        num_out = maps.shape[2]
        output, pooled = norm_pool(maps, p["1.weight"], p["1.bias"], (height, width), self._eps, self._rectifies)
        shaped = output.view(num_tasks, batch, height // 2, width // 2, num_out).permute(0, 1, 4, 2, 3)
        return shaped, _Kept(x, maps, pooled)

    def by_support(self, p: Parameters, x: Tensor, shots: int, num_samples: int) -> Tensor:
        """The same shapes, with the moments of the first ``shots`` of each simulation step's ``num_samples``."""
        num_tasks, batch, _, height, width = x.shape
        _, maps = self._maps(p["0.weight"], x)
        num_out = maps.shape[2]
        steps = maps.view(num_tasks, -1, num_samples, height * width, num_out)
        mean = steps[:, :, :shots].mean((1, 2, 3), keepdim=True)
        variance = (steps[:, :, :shots] - mean).square().mean((1, 2, 3), keepdim=True)
        gain, bias = (p[name].view(num_tasks, 1, 1, 1, num_out) for name in ("1.weight", "1.bias"))
        output = (steps - mean) * (gain * (variance + self._eps).rsqrt()) + bias
        if self._rectifies:
            output = output.relu()
        images = output.view(-1, height, width, num_out).permute(0, 3, 1, 2)
        return nn.functional.max_pool2d(images, 2).unflatten(0, (num_tasks, batch))

    def _maps(self, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the filters see, and the maps ``[M, K * H * W, O]``."""
        num_tasks, batch, _, height, width = x.shape
        if self._is_unfolded:
            patches = nn.functional.unfold(x.flatten(0, 1), 3, padding=1)  # [M*K, C*9, P]
            x = patches.transpose(1, 2).reshape(num_tasks, batch * height * width, -1)
            return x, torch.bmm(x, weight.flatten(2).transpose(1, 2))
        return x, _Convolution.apply(x, weight).permute(0, 1, 3, 4, 2).reshape(num_tasks, -1, weight.shape[1])

    def backward(self, p: Parameters, kept: _Kept, grad: Tensor, need_input: bool) -> tuple[Tensor, Parameters]:
        """Return the gradients of input, filters and batch norm."""
        num_tasks, _, num_out = kept.maps.shape
        grad = grad.permute(0, 1, 3, 4, 2).reshape(num_tasks, -1, num_out)
        maps_grad, gain_grad, bias_grad = norm_pool_gradient(grad, kept.maps, p["1.weight"], kept.pooled)
        found = {"1.weight": gain_grad, "1.bias": bias_grad, "0.bias": torch.zeros_like(bias_grad)}
        weight = p["0.weight"]
        if self._is_unfolded:
            found["0.weight"] = torch.bmm(maps_grad.transpose(1, 2), kept.inputs).view(weight.shape)
            return grad, found
        height, width = kept.inputs.shape[3:]
        shaped = maps_grad.view(num_tasks, -1, height, width, num_out).permute(0, 1, 4, 2, 3)
        found["0.weight"] = _FilterGradient.apply(shaped, kept.inputs)
        return _InputGradient.apply(shaped, weight) if need_input else grad, found


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, which: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """Gradients of input and filters of one task's 3 × 3 convolution; ``which`` are computed."""
    by_input, by_filter, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*which, False]
    )
    return by_input, by_filter


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """``[M, K, C, H, W]``, ``[M, O, C, 3, 3]`` → ``[M, K, O, H, W]``, channels last."""
    return _joined([nn.functional.conv2d(a, _last(w), padding=1) for a, w in zip(x, weight, strict=True)])


def _input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    like = grad.new_empty(()).expand(grad.shape[1], weight.shape[2], *grad.shape[3:])
    tasks = zip(grad, weight, strict=True)
    return _joined([_convolution_backward(_last(g), like, _last(w), (True, False))[0] for g, w in tasks])


def _filter_gradient(grad: Tensor, x: Tensor) -> Tensor:
    like = grad.new_empty(()).expand(grad.shape[2], x.shape[2], 3, 3)
    tasks = zip(grad, x, strict=True)
    return torch.stack([_convolution_backward(_last(g), _last(a), like, (False, True))[1] for g, a in tasks])


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _joined(maps: list[Tensor]) -> Tensor:
    """Stacked, without a copy where there is one task only."""
    if len(maps) == 1:
        return maps[0].unsqueeze(0)
    return torch.stack([m.permute(0, 2, 3, 1) for m in maps]).permute(0, 1, 4, 2, 3)


class _Convolution(torch.autograd.Function):
    """The 3 × 3 convolution of each task's maps with its own filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad
        return (
            _input_gradient(grad, weight) if need_x else None,
            _filter_gradient(grad, x) if need_weight else None,
        )


class _InputGradient(torch.autograd.Function):
    """How the convolution's gradient passes to its input; linear in the gradient and in the filters."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(grad, weight)
        return _input_gradient(grad, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad, weight = ctx.saved_tensors
        need_grad, need_weight = ctx.needs_input_grad
        return (
            _convolved(outer, weight) if need_grad else None,
            _filter_gradient(grad, outer) if need_weight else None,
        )


class _FilterGradient(torch.autograd.Function):
    """How it passes to its filters; linear in the gradient and in the input."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(grad, x)
        return _filter_gradient(grad, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad, x = ctx.saved_tensors
        need_grad, need_x = ctx.needs_input_grad
        return (
            _convolved(x, outer) if need_grad else None,
            _input_gradient(grad, outer) if need_x else None,
        )
