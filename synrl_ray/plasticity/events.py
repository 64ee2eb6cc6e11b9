"""Sums over the spikes of a fragment through the compiled kernels: tensors in, tensors out.

How they are computed: :mod:`synrl_ray.plasticity.event_kernels`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synrl_ray.plasticity import event_kernels, list_kernels
from synrl_ray.plasticity.factors import Modulation, STDPState
from synrl_ray.plasticity.kernel_choice import decay_factor
from synrl_ray.plasticity.numba_kernel import as_array, as_mask
from synrl_ray.settings.plasticity import PairSTDP, STDPConfig

MOST_SPIKES = 0.5
"""Share of presynaptic neurons and steps with a spike above which dense products cost less than lists."""
FEW_UPDATES = 1 << 20
"""Synapses times steps of all rows: below so many lists cost less at any activity."""

Layer = tuple[float, float, float, float]
"""Decay of the trace, decay of the slow trace, amplitude, amplitude for each unit of the slow trace."""


class Listed(NamedTuple):
    """The presynaptic spikes of a fragment, by row of the batch and neuron."""

    lists: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """Starts ``[B, I + 1]``; of each spike its step, what its trace rose by, its amplitude of depression."""
    traces: Tensor
    """``[B, I]``, after the last step"""
    slow: Tensor | None


def layers(config: STDPConfig, dt: float) -> tuple[Layer, Layer]:
    """Constants of presynaptic traces and depression, and of postsynaptic traces and potentiation."""
    plus, minus = decay_factor(config.tau_plus, dt), decay_factor(config.tau_minus, dt)
    if isinstance(config, PairSTDP):
        return (plus, 0.0, config.a_minus, 0.0), (minus, 0.0, config.a_plus, 0.0)
    slow_pre, slow_post = decay_factor(config.tau_x, dt), decay_factor(config.tau_y, dt)
    return (plus, slow_pre, config.a2_minus, config.a3_minus), (minus, slow_post, config.a2_plus, config.a3_plus)


def list_spikes(
    spikes: Tensor, num_post: int, state: STDPState, config: STDPConfig, dt: float, mask: Tensor | None
) -> Listed | None:
    """List the presynaptic spikes ``[T, B, I]``; none where they are so many that dense products cost less."""
    num_steps, batch, num_pre = spikes.shape
    size = num_steps * batch * num_pre
    space = size if size * num_post < FEW_UPDATES else int(MOST_SPIKES * size)
    traces, slow = _copy(state.pre), _slow(state.pre_slow, config)
    kind = traces.numpy().dtype
    lists = np.empty((batch, num_pre + 1), np.int64), np.empty(space, np.int32), *np.empty((2, space), kind)
    fits = list_kernels.list_spikes(
        as_array(spikes), traces.numpy(), _array(slow, 2, kind), layers(config, dt)[0], config.pairing == "nearest",
        as_mask(mask), *lists,
    )  # fmt: skip
    return Listed(lists, traces, slow) if fits else None


def sum_spikes(
    listed: Listed,
    post: Tensor,
    state: STDPState,
    config: STDPConfig,
    dt: float,
    mask: Tensor | None,
    modulation: Modulation | None,
    room: Tensor | None,
) -> tuple[Tensor, Tensor, STDPState]:
    """The change ``[I, O]``, the eligibility after the last step ``[B, I, O]`` (or empty), and the traces.

    Args:
        listed: presynaptic spikes.
        post: postsynaptic ones, ``[T, B, O]``.
        state: traces before the first step.
        config, dt: the rule, and the simulation step in ms.
        mask: true where an episode starts.
        modulation: how pairs count; without it each counts once, and there is no eligibility.
        room: ``[2, I, O]``, what potentiation and depression are multiplied with where bounds are soft.
    """
    pre_layer, post_layer = layers(config, dt)
    # Where every spike counts alike and bounds are hard, one vector does for both terms
    as_one = room is None and config.pairing == "all_to_all" and pre_layer[3] == 0
    traces, slow = _copy(state.post), _slow(state.post_slow, config)
    kind, (num_steps, batch, num_post) = traces.numpy().dtype, post.shape
    delta = traces.new_zeros(state.pre.shape[1], num_post)
    final = traces.new_empty(*(0, 0, 0) if modulation is None else modulation.eligibility.shape)
    weights: tuple[np.ndarray, ...]
    if modulation is None:
        scale, kept = np.ones((num_steps, batch), kind), np.zeros(batch, kind)
        weights = (scale, kept, scale, kept, final.numpy())
    else:
        scale_TB, left, past, kept_B, kept_left = modulation
        weights = tuple(as_array(part) for part in (scale_TB, kept_B, left, kept_left, past))
    event_kernels.sum_spikes(
        listed.lists, as_array(state.pre), pre_layer[0], as_array(post), traces.numpy(), _array(slow, 2, kind),
        post_layer, config.pairing == "nearest", as_mask(mask), not as_one, kind.type(pre_layer[2] if as_one else 0),
        _array(room, 3, kind), *weights, delta.numpy(), final.numpy(),
    )  # fmt: skip
    return delta, final, STDPState(listed.traces, traces, listed.slow, slow)


def _copy(trace: Tensor) -> Tensor:
    """A copy in one piece, which a kernel can move on in place."""
    return trace.detach().clone(memory_format=torch.contiguous_format)


def _slow(trace: Tensor | None, config: STDPConfig) -> Tensor | None:
    """A copy of the slow trace where the rule has one."""
    return None if trace is None or isinstance(config, PairSTDP) else _copy(trace)


def _array(tensor: Tensor | None, dim: int, kind: np.dtype) -> np.ndarray:
    """The tensor's memory, or an empty array."""
    return np.empty((0,) * dim, kind) if tensor is None else as_array(tensor)
