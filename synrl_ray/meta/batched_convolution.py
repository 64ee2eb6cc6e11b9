r"""A convolutional block of many tasks, with its backward pass written out.

Convolution → batch norm → rectifier → max-pool, computed in another order: a rectifier and batch norm with
:math:`\gamma \ge 0` are monotone, so the largest of a window may be picked *before* them (the smallest where
:math:`\gamma < 0`), and all but convolution and moments then runs on a quarter of the pixels. With a the
convolution's output, N its samples and pixels, p the picked pixels, m and v the mean and the variance of a,
:math:`r = (v + \epsilon)^{-1/2}`:

.. math::
    z = (p - m)\, r, \qquad y = \max(0, \gamma z + \beta)

and backward, with :math:`g_z = \gamma\, [y > 0]\, g_y` and U putting picked pixels back in their places:

.. math::
    g_a = r\, U g_z - \frac{r}{N} \sum g_z - \frac{r^2}{N} (a - m) \sum g_z z

Maps lie in memory with channels last, where convolution and pooling of torch are fastest on a CPU.

Legend: M tasks, K samples, C channels in, O channels out, H height, W width, P = H * W.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from synrl_ray.meta.engine import Parameters

UNFOLDED_UP_TO = 32  # numbers in a filter; up to there the first layer is faster as a matrix product of patches


class _Kept(NamedTuple):
    inputs: Tensor
    maps: Tensor
    mean: Tensor
    scale: Tensor
    picked: Tensor
    normal: Tensor
    output: Tensor


class BatchedConvBlock:
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
        weight, bias = p["0.weight"], p["0.bias"]
        num_out = weight.shape[1]
        if self._is_unfolded:
            patches = nn.functional.unfold(x.flatten(0, 1), 3, padding=1)  # [M*K, C*9, P]
            x = patches.transpose(1, 2).reshape(num_tasks, batch * height * width, -1)
            maps = torch.baddbmm(bias.unsqueeze(1), x, weight.flatten(2).transpose(1, 2))
        else:
            maps = _Convolution.apply(x, weight, bias).permute(0, 1, 3, 4, 2).reshape(num_tasks, -1, num_out)
        mean, variance = _Moments.apply(maps)
        scale = (variance + self._eps).rsqrt()
        with torch.no_grad():
            picked = _largest(maps.view(-1, height, width, num_out), p["1.weight"], batch)
        chosen = maps.view(num_tasks * batch, -1, num_out).gather(1, picked).view(num_tasks, -1, num_out)
        normal = (chosen - mean) * scale
        output = torch.addcmul(p["1.bias"].unsqueeze(1), normal, p["1.weight"].unsqueeze(1))
        if self._rectifies:
            output = torch.relu(output)
        shaped = output.view(num_tasks, batch, height // 2, width // 2, num_out).permute(0, 1, 4, 2, 3)
        return shaped, _Kept(x, maps, mean, scale, picked, normal, output.detach())

    def backward(self, p: Parameters, kept: _Kept, grad: Tensor, need_input: bool) -> tuple[Tensor, Parameters]:
        """Return the gradients of input, filters and batch norm."""
        num_tasks, pixels, num_out = kept.maps.shape
        grad = grad.permute(0, 1, 3, 4, 2).reshape(kept.output.shape)
        if self._rectifies:
            grad = torch.ops.aten.threshold_backward(grad, kept.output, 0)
        bias_grad, gain_grad = grad.sum(1), (grad * kept.normal).sum(1)
        # Sums of g_z and of g_z z are gamma times those of beta's and gamma's gradients.
        gain = p["1.weight"]
        scaled = gain * kept.scale.squeeze(1)
        slope = (-scaled * kept.scale.squeeze(1) / pixels * gain_grad).unsqueeze(1)
        shift = (-scaled / pixels * bias_grad).unsqueeze(1) - slope * kept.mean
        moments_part = torch.addcmul(shift, kept.maps, slope)
        pooled = (grad * scaled.unsqueeze(1)).view(*kept.picked.shape)
        by_sample = moments_part.view(kept.picked.shape[0], -1, num_out)
        maps_grad = by_sample.scatter_add(1, kept.picked, pooled).view(kept.maps.shape)
        found = {"1.weight": gain_grad, "1.bias": bias_grad, "0.bias": maps_grad.sum(1)}
        weight = p["0.weight"]
        if self._is_unfolded:
            found["0.weight"] = torch.bmm(maps_grad.transpose(1, 2), kept.inputs).view(weight.shape)
            return grad, found
        height, width = kept.inputs.shape[3:]
        shaped = maps_grad.view(num_tasks, -1, height, width, num_out).permute(0, 1, 4, 2, 3)
        found["0.weight"] = _FilterGradient.apply(shaped, kept.inputs)
        return _InputGradient.apply(shaped, weight) if need_input else grad, found


def _largest(maps: Tensor, gain: Tensor, batch: int) -> Tensor:
    """Which pixel of each window batch norm makes the largest: ``[M*K, H, W, O]`` → ``[M*K, H//2 * W//2, O]``."""
    if bool((gain < 0).any()):
        signs = torch.where(gain < 0, -1.0, 1.0).to(maps.dtype)
        maps = maps * signs.repeat_interleave(batch, 0)[:, None, None]
    _, index = nn.functional.max_pool2d(maps.permute(0, 3, 1, 2), 2, return_indices=True)
    return index.permute(0, 2, 3, 1).flatten(1, 2)


class _Moments(torch.autograd.Function):
    """Mean and variance ``[M, 1, O]`` of maps ``[M, N, O]``; ``torch.var_mean`` takes ten times as long."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        mean = maps.mean(1, keepdim=True)
        variance = (maps - mean).square_().mean(1, keepdim=True)
        ctx.save_for_backward(maps, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_variance: Tensor) -> Tensor:
        maps, mean = ctx.saved_tensors
        slope = grad_variance * (2 / maps.shape[1])
        return torch.addcmul(grad_mean / maps.shape[1] - slope * mean, maps, slope)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, which: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """Gradients of input and filters of one task's 3 × 3 convolution; ``which`` are computed."""
    by_input, by_filter, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*which, False]
    )
    return by_input, by_filter


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[M, K, C, H, W]``, ``[M, O, C, 3, 3]`` → ``[M, K, O, H, W]``, channels last."""
    biases: Any = [None] * len(x) if bias is None else bias
    tasks = zip(x, weight, biases, strict=True)
    return _joined([nn.functional.conv2d(a, _last(w), b, padding=1) for a, w, b in tasks])


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
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        return (
            _input_gradient(grad, weight) if need_x else None,
            _filter_gradient(grad, x) if need_weight else None,
            grad.sum((1, 3, 4)) if need_bias else None,
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
            _convolved(outer, weight, None) if need_grad else None,
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
            _convolved(x, outer, None) if need_grad else None,
            _input_gradient(grad, outer) if need_x else None,
        )
