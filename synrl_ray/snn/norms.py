"""Normalisation of the currents between a layer's weights and its neurons.

Legend: B batch, N neurons, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

Norm = Literal["none", "layer", "running"]
_EPSILON = 1e-5
_MOMENTUM = 0.1
"""Share of the newest batch in the moments, torch's for batch normalisation."""


class RunningNorm(nn.Module):
    r"""Currents in units of their running spread, with a learned gain and shift.

    .. math:: i \mapsto \gamma\, \frac{i - \mu}{\sqrt{\sigma^2 + 10^{-5}}} + \delta

    The moments are buffers, which change through :meth:`update` alone: what was computed before can be computed again.
    No gradient passes through them. Before the first update currents pass as they are. Since the moments are fixed
    while the network runs, an export makes the layer part of the weights before it.

    Args:
        num_features: N, or C of maps.
        is_map: whether currents are maps, whose moments are those of their channels.

    Shape:
        ``[..., N]``, or ``[B, C, H, W]``, → the same.

    References:
        Ioffe & Szegedy (2015), "Batch normalization", arXiv:1502.03167, as at inference.

    Example:
        >>> norm = RunningNorm(1)
        >>> norm.update(torch.tensor([[1.0], [3.0]]))
        >>> [round(value, 3) for value in norm(torch.tensor([[2.0], [4.0]])).flatten().tolist()]
        [0.0, 2.0]
    """

    epsilon = _EPSILON
    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, num_features: int, *, is_map: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("variance", torch.ones(num_features))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.is_map = is_map

    def forward(self, current: Tensor) -> Tensor:
        """Return the normalised currents."""
        scale = self.scale
        shift = self.bias - self.mean * scale
        if self.is_map:
            scale, shift = scale.view(-1, 1, 1), shift.view(-1, 1, 1)
        return current * scale + shift

    @property
    def scale(self) -> Tensor:
        """What currents are multiplied by, one number for each feature."""
        return self.weight / (self.variance + self.epsilon).sqrt()

    @torch.no_grad()
    def update(self, current: Tensor) -> None:
        """Move the moments towards those of these currents; the first ones are taken as they are.

        The k-th batch counts for 1/k of the moments, and for a tenth from the tenth on.
        """
        if not current.numel():
            return
        over = (0, 2, 3) if self.is_map else tuple(range(current.dim() - 1))
        variance, mean = torch.var_mean(current, over, correction=0)
        self.count += 1
        share = max(_MOMENTUM, 1 / int(self.count))
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share)


def make_norm(kind: Norm, num_features: int, *, is_map: bool = False) -> nn.Module:
    """A normalisation of currents.

    Args:
        kind: ``"layer"`` over the features of each row, or the whole of each map, with a learned gain and shift for
            each feature, or channel (Ba et al. 2016, arXiv:1607.06450); ``"running"`` is :class:`RunningNorm`.
        num_features: N, or C of maps.
        is_map: whether currents are maps.

    Raises:
        ValueError: for another kind.
    """
    if kind == "running":
        return RunningNorm(num_features, is_map=is_map)
    if kind == "layer":
        return nn.GroupNorm(1, num_features) if is_map else nn.LayerNorm(num_features)
    raise ValueError(f"unknown norm {kind!r}: choose one of {', '.join(get_args(Norm))}")


def normalised(norms: nn.ModuleList | None, layer: int, current: Tensor) -> Tensor:
    """The currents of a layer, through its normalisation where there is one."""
    return current if norms is None else norms[layer](current)


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Within, every :class:`RunningNorm` first updates its moments by the currents that it is then to normalise."""

    def update(norm: nn.Module, arguments: tuple[Tensor]) -> None:
        assert isinstance(norm, RunningNorm)
        norm.update(*arguments)

    handles = [m.register_forward_pre_hook(update) for m in network.modules() if isinstance(m, RunningNorm)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def merged(parameters: Sequence[Tensor], norms: Iterable[nn.Module]) -> tuple[Tensor, ...]:
    r"""A fused network's parameters, weights and biases with the normalisation behind them: :math:`W' = sW`,
    :math:`b' = s (b - \mu) + \delta`.

    Args:
        parameters: weight and bias of the readout, then weight, bias, beta and threshold of every spiking layer.
        norms: of these layers, each a :class:`RunningNorm`.
    """
    parts = list(parameters)
    for layer, norm in enumerate(cast("Iterable[RunningNorm]", norms)):
        at, scale = 2 + 4 * layer, norm.scale
        parts[at] = parts[at] * scale.view(-1, *[1] * (parts[at].dim() - 1))
        parts[at + 1] = (parts[at + 1] - norm.mean) * scale + norm.bias
    return tuple(parts)
