"""Sums over the spikes of a fragment through the compiled kernels: tensors in, tensors out.

How they are computed: :mod:`synrl_ray.plasticity.event_kernels`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from synrl_ray.plasticity import event_kernels as kernels
from synrl_ray.plasticity.factors import Modulation, STDPState
from synrl_ray.plasticity.kernel_choice import decay_factor
from synrl_ray.plasticity.numba_kernel import as_array, as_mask
from synrl_ray.settings.plasticity import PairSTDP, STDPConfig

MOST_SPIKES = 0.5
"""Share of presynaptic neurons and steps with a spike above which dense products cost less than lists."""

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


def list_spikes(spikes: Tensor, state: STDPState, config: STDPConfig, dt: float, mask: Tensor | None) -> Listed | None:
    """List the presynaptic spikes ``[T, B, I]``; none where they are so many that dense products cost less."""
    num_steps, batch, num_pre = spikes.shape
    room = int(MOST_SPIKES * num_steps * batch * num_pre)
    traces, slow = state.pre.clone(), _slow(state.pre_slow, config)
    kind = as_array(traces).dtype
    lists = (
        np.empty((batch, num_pre + 1), np.int64),
        np.empty(room, np.int32),
        np.empty(room, kind),
        np.empty(room, kind),
    )
    fits = kernels.list_spikes(
        as_array(spikes), as_array(traces), _array_or_none(slow, traces), layers(config, dt)[0],
        config.pairing == "nearest", as_mask(mask), *lists,
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
    terms: Literal["both", "potentiation", "depression"] = "both",
) -> tuple[Tensor, Tensor, STDPState]:
    """The change ``[I, O]``, the eligibility after the last step ``[B, I, O]`` (or empty), and the traces.

    Args:
        listed: presynaptic spikes.
        post: postsynaptic ones, ``[T, B, O]``.
        state: traces before the first step.
        config, dt: the rule, and the simulation step in ms.
        mask: true where an episode starts.
        modulation: how pairs count; without it each counts once, and there is no eligibility.
        terms: which to add. Depression is negative. One of them alone leaves out what the eligibility began with.
    """
    num_steps, batch, num_post = post.shape
    pre_layer, post_layer = layers(config, dt)
    # Rises and amplitudes are in proportion, unless only the newest spike counts or a slow trace does
    as_one = terms == "both" and config.pairing == "all_to_all" and pre_layer[3] == 0
    traces, slow = state.post.clone(), _slow(state.post_slow, config)
    kind = as_array(traces).dtype.type
    delta = traces.new_zeros(state.pre.shape[1], num_post)
    if modulation is None:
        scale = left = traces.new_ones(num_steps, batch)
        kept = kept_left = traces.new_zeros(batch)
        eligibility = final = traces.new_empty(0, 0, 0)
    else:
        scale, left, eligibility, kept, kept_left = modulation
        final = torch.empty(eligibility.shape, dtype=traces.dtype)
        if terms != "both":
            kept = kept_left = torch.zeros_like(kept)
    kernels.sum_spikes(
        listed.lists, as_array(state.pre), pre_layer[0], as_array(post), as_array(traces), _array_or_none(slow, traces),
        post_layer, config.pairing == "nearest", as_mask(mask), terms != "depression",
        terms != "potentiation" and not as_one, kind(pre_layer[2] if as_one else 0.0),
        *(as_array(part) for part in (scale, kept, left, kept_left, eligibility, delta, final)),
    )  # fmt: skip
    return delta, final, STDPState(listed.traces, traces, listed.slow, slow)


def _slow(trace: Tensor | None, config: STDPConfig) -> Tensor | None:
    """A copy of the slow trace where the rule has one."""
    return None if trace is None or isinstance(config, PairSTDP) else trace.clone()


def _array_or_none(slow: Tensor | None, like: Tensor) -> np.ndarray:
    return as_array(like.new_empty(0, 0) if slow is None else slow)
