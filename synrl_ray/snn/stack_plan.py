"""The structure of a fused feed-forward spiking network, and where its tensors lie in memory."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synrl_ray.snn.products import Product
from synrl_ray.snn.spike_lists import SpikeLists
from synrl_ray.snn.surrogate import Surrogate


class Small(NamedTuple):
    """A network of fully connected layers as the one compiled call for small ones wants it; see ``network_kernels``."""

    where: np.ndarray
    sizes: np.ndarray
    reset_codes: np.ndarray


class Plan(NamedTuple):
    """The structure of a network around its tensors.

    Args:
        sizes: neurons of every layer, readout included.
        period: K, simulation steps per observation.
        hold: for how many of them an input is held, K or one.
        resets: codes of every spiking layer's reset.
        small: for a network in one call; ``None`` where there are maps, or inputs for each step.
        surrogates: of every spiking layer.
        products: of every spiking layer, what its weights make of the signal before it.
        pool: ``[K]`` weights with which the readout sums the spikes of an observation.
        bias_gain: their sum, which scales the readout's bias.
        readout_decay: of the readout's membrane, per observation.
        listed: the inputs, where they are spikes and lists of them pay.
    """

    sizes: tuple[int, ...]
    period: int
    hold: int
    resets: tuple[int, ...]
    small: Small | None
    surrogates: tuple[Surrogate, ...]
    products: tuple[Product, ...]
    pool: Tensor
    bias_gain: float
    readout_decay: Tensor
    listed: SpikeLists | None = None


class Layout(NamedTuple):
    """Offsets into the one allocation that backward needs, and into a row of the state.

    Args:
        membranes: of every spiking layer ``[T*B, N]``: first element.
        signals: first element of what every spiking layer hands on, spikes ``[T*B, N]`` or, the last one, pooled
            ``[E*B, N]``.
        size: elements in total.
        columns: first column of every layer's membranes in the state.
        width: S, columns of the state.
    """

    membranes: tuple[int, ...]
    signals: tuple[int, ...]
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
    starts = tuple(accumulate(lengths, initial=0))
    columns = tuple(accumulate(sizes, initial=0))
    return Layout(starts[: len(hidden)], starts[len(hidden) : -1], starts[-1], columns[:-1], columns[-1])


@lru_cache(maxsize=256)
def structure_of(
    sizes: tuple[int, ...],
    period: int,
    hold: int,
    products: tuple[Product, ...],
    resets: tuple[str, ...],
    shapes: tuple[torch.Size, ...],
) -> tuple[tuple[int, ...], Small | None] | None:
    """Codes of the resets and what small networks want, or ``None`` if the shapes are not those that the passes read.

    Args:
        sizes, period, hold, products: as of the plan.
        resets: of every spiking layer.
        shapes: of the parameters in their order, then of ``pool`` and ``readout_decay``.
    """
    from synrl_ray.snn.cell_kernels import RESET_CODES  # numba takes half a second to import

    *hidden, out_features = sizes
    allowed: list[tuple[tuple[int, ...], ...]] = [((out_features, hidden[-1]),), ((out_features,),)]
    for product, n in zip(products, hidden, strict=True):
        each: tuple[tuple[int, ...], ...] = ((),) if product.is_map else ((), (n,))
        allowed += [(product.weight_shape,), ((product.num_biases,),), each, each]
    allowed += [((period,),), ((),)]
    if not all(shape in those for shape, those in zip(shapes, allowed, strict=True)):
        return None
    codes = tuple(RESET_CODES[reset] for reset in resets)
    if hold != period or any(product.is_map for product in products):
        return codes, None
    lengths = [math.prod(shape) for shape in shapes[:-2]]
    starts = list(accumulate(lengths, initial=0))
    return codes, Small(
        np.array([[*starts[i : i + 4], *lengths[i + 2 : i + 4]] for i in range(2, len(lengths), 4)], dtype=np.int64),
        np.array([products[0].weight_shape[1], *sizes], dtype=np.int64),
        np.array(codes, dtype=np.int64),
    )
