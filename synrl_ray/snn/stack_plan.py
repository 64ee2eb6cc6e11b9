"""The structure of a fused feed-forward spiking network, and where its tensors lie in memory."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

from synrl_ray.snn.surrogate import Surrogate


class Plan(NamedTuple):
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


class Layout(NamedTuple):
    """Offsets into the one allocation that backward needs, and into a row of the state.

    Args:
        membranes: of every spiking layer ``[T*B, N]``: first element and the one after the last.
        signals: what every spiking layer hands on, spikes ``[T*B, N]`` or, the last one, pooled ``[E*B, N]``.
        size: elements in total.
        columns: first column of every layer's membranes in the state.
        width: S, columns of the state.
    """

    membranes: tuple[tuple[int, int], ...]
    signals: tuple[tuple[int, int], ...]
    size: int
    columns: tuple[int, ...]
    width: int


@lru_cache(maxsize=256)
def layout(sizes: tuple[int, ...], period: int, num_observations: int, batch: int) -> Layout:
    """Lay out a network for ``num_observations`` x ``batch`` inputs."""
    hidden = sizes[:-1]
    rows = num_observations * batch
    lengths = [rows * period * n for n in hidden] * 2
    lengths[-1] = rows * hidden[-1]
    ends = list(accumulate(lengths))
    spans = tuple(zip([0, *ends], ends, strict=False))
    columns = tuple(accumulate(sizes, initial=0))
    return Layout(spans[: len(hidden)], spans[len(hidden) :], ends[-1], columns[:-1], columns[-1])
