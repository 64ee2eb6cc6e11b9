r"""Batch norm, rectifier and 2 × 2 max-pool of many tasks, with first and second derivatives written out.

A rectifier and batch norm with :math:`\gamma \ge 0` are monotone, so the largest of a window may be picked *before*
them (the smallest where :math:`\gamma < 0`): all but the moments then runs on a quarter of the pixels. For one channel
of one task, with a its N pixels, m and v their mean and variance, :math:`r = (v + \epsilon)^{-1/2}`,
:math:`z = (a - m)\, r` and p the picked pixels:

.. math:: y = \max(0, \gamma z_p + \beta)

Backward, with g the gradient of y where y is positive, :math:`b = \sum g`, :math:`h = \sum g z_p` and U putting picked
pixels back in their places:

.. math:: g_\beta = b, \qquad g_\gamma = h, \qquad g_a = \gamma r \Big( U g - \frac{b}{N} - \frac{h}{N} z \Big)

The meta-gradient passes back through these three. With :math:`o_a, o_\gamma, o_\beta` what arrives for them,
:math:`s = \sum o_a`, :math:`t = \sum o_a z`, :math:`q = \sum (o_a)_p\, g - (b s + h t) / N`,
:math:`c = o_\gamma - \gamma r t / N` and :math:`d = -\gamma r h / N`, it leaves

.. math::
    o_g &= \gamma r \Big( (o_a)_p - \frac{s}{N} \Big) + c\, z_p + o_\beta, \qquad \gamma: \; r q, \\
    a &: \; r \Big( c\, U g + d\, o_a - \frac{c b + d s}{N} - \frac{c h + d t + \gamma r q}{N} z \Big)

Legend: M tasks, K samples, O channels, H height, W width, N = K * H * W pixels, n = N / 4 picked ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Pooled(NamedTuple):
    """What :func:`norm_pool` knows when it is done; constants for autograd."""

    output: Tensor | None
    """``[M, n, O]``; ``None`` where nothing is rectified."""
    picked: Tensor
    """Which pixel of a sample ``[M * K, n / K, O]``, int64."""
    chosen: Tensor
    """The picked pixels ``[M, n, O]``."""
    mean: Tensor
    """``[M, 1, O]``."""
    scale: Tensor
    """r, ``[M, 1, O]``."""


def norm_pool(
    maps: Tensor, gain: Tensor, bias: Tensor, size: tuple[int, int], eps: float, rectifies: bool
) -> tuple[Tensor, Pooled]:
    """The forward pass.

    Args:
        maps: a, ``[M, N, O]``, sample after sample.
        gain, bias: gamma and beta, ``[M, O]``.
        size: H, W.
        eps: added to the variance.
        rectifies: whether there is a rectifier.

    Returns:
        y ``[M, n, O]``, and what :func:`norm_pool_gradient` needs.
    """
    output, *known = _NormPool.apply(maps, gain, bias, size, eps, rectifies)
    return output, Pooled(output.detach() if rectifies else None, *known)


def norm_pool_gradient(grad: Tensor, maps: Tensor, gain: Tensor, pooled: Pooled) -> tuple[Tensor, Tensor, Tensor]:
    """The backward pass, itself differentiable once: gradients of maps, gain and bias.

    Args:
        grad: of y, ``[M, n, O]``.
        maps, gain, pooled: of the forward pass.
    """
    by_maps, by_gain, by_bias = _Gradient.apply(grad, maps, gain, *pooled)
    return by_maps, by_gain, by_bias


class _NormPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, gain: Tensor, bias: Tensor, size: tuple[int, int], eps: float, rectifies: bool
    ) -> tuple[Tensor, ...]:
        mean = maps.mean(1, keepdim=True)
        variance = (maps - mean).square_().mean(1, keepdim=True)  # torch.var_mean takes ten times as long
        scale = variance.add_(eps).rsqrt_()
        picked, chosen = _largest(maps, gain, size)
        scaled = gain.unsqueeze(1) * scale
        output = torch.addcmul(bias.unsqueeze(1) - mean * scaled, chosen, scaled)
        if rectifies:
            output.relu_()
        ctx.save_for_backward(maps, gain, output if rectifies else None, picked, chosen, mean, scale)
        ctx.mark_non_differentiable(picked, chosen, mean, scale)
        return output, picked, chosen, mean, scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        maps, gain, *known = ctx.saved_tensors
        pooled = Pooled(*known)
        return (*_gradient(_rectified(grad, pooled), maps, gain, pooled)[:3], None, None, None)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, maps: Tensor, gain: Tensor, *known: Any) -> tuple[Tensor, Tensor, Tensor]:
        pooled = Pooled(*known)
        grad = _rectified(grad, pooled)
        by_maps, by_gain, by_bias = _gradient(grad, maps, gain, pooled)
        ctx.save_for_backward(grad, maps, gain, by_gain, by_bias, *pooled)
        return by_maps, by_gain, by_bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, o_maps: Tensor, o_gain: Tensor, o_bias: Tensor) -> tuple[Tensor | None, ...]:
        grad, maps, gain, h, b, *known = ctx.saved_tensors
        pooled = Pooled(*known)
        mean, scale = pooled.mean, pooled.scale
        gain, h, b, o_gain, o_bias = (x.unsqueeze(1) for x in (gain, h, b, o_gain, o_bias))
        count = maps.shape[1]
        scaled = gain * scale
        o_maps = o_maps.contiguous()
        arrived = _picked(o_maps, pooled.picked)
        s = o_maps.sum(1, keepdim=True)
        t = ((o_maps * maps).sum(1, keepdim=True) - mean * s) * scale
        q = (arrived * grad).sum(1, keepdim=True) - (b * s + h * t) / count
        c = o_gain - scaled * t / count
        d = -scaled * h / count

        by_grad = None
        if ctx.needs_input_grad[0]:
            slope = c * scale
            by_grad = torch.addcmul(o_bias - scaled * s / count - slope * mean, pooled.chosen, slope)
            by_grad = _rectified(by_grad.addcmul_(arrived, scaled), pooled)
        slope = (c * h + d * t + scaled * q) * scale.square() / -count
        shift = (c * b + d * s) * scale / -count - slope * mean
        by_maps = torch.addcmul(shift, maps, slope).addcmul_(o_maps, d * scale)
        _put_back(by_maps, pooled.picked, grad * (c * scale))
        return by_grad, by_maps, (scale * q).squeeze(1), *[None] * len(known)


def _gradient(grad: Tensor, maps: Tensor, gain: Tensor, pooled: Pooled) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of maps, gain and bias from that of y where y is positive."""
    count, mean, scale = maps.shape[1], pooled.mean, pooled.scale
    b = grad.sum(1, keepdim=True)
    h = ((grad * pooled.chosen).sum(1, keepdim=True) - mean * b) * scale
    scaled = gain.unsqueeze(1) * scale
    slope = scaled * scale * h / -count
    by_maps = torch.addcmul(scaled * b / -count - slope * mean, maps, slope)
    _put_back(by_maps, pooled.picked, grad * scaled)
    return by_maps, h.squeeze(1), b.squeeze(1)


def _largest(maps: Tensor, gain: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Of each window the pixel that batch norm makes the largest: where ``[M * K, n / K, O]``, and it ``[M, n, O]``."""
    signs = None
    if bool((gain < 0).any()):
        signs = torch.where(gain < 0, -1.0, 1.0).to(maps.dtype).unsqueeze(1)
        maps = maps * signs
    num_tasks, _, num_out = maps.shape
    images = maps.view(-1, *size, num_out).permute(0, 3, 1, 2)
    largest, where = nn.functional.max_pool2d(images, 2, return_indices=True)
    chosen = largest.permute(0, 2, 3, 1).reshape(num_tasks, -1, num_out)
    return where.permute(0, 2, 3, 1).flatten(1, 2), chosen if signs is None else chosen * signs


def _picked(maps: Tensor, picked: Tensor) -> Tensor:
    return _by_sample(maps, picked).gather(1, picked).view(len(maps), -1, maps.shape[2])


def _put_back(maps: Tensor, picked: Tensor, values: Tensor) -> None:
    _by_sample(maps, picked).scatter_add_(1, picked, values.view(picked.shape))


def _by_sample(maps: Tensor, picked: Tensor) -> Tensor:
    return maps.view(len(picked), -1, maps.shape[2])


def _rectified(grad: Tensor, pooled: Pooled) -> Tensor:
    return grad if pooled.output is None else torch.ops.aten.threshold_backward(grad, pooled.output, 0)
