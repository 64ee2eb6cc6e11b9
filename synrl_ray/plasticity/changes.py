"""What the spikes of a fragment change: by lists of spikes where they are rare, else by dense products.

Both give the same to rounding. Lists are for the CPU, and for layers whose presynaptic neurons fire in no more than
:data:`~synrl_ray.plasticity.events.MOST_SPIKES` of all steps; the products are torch's (BLAS), and run anywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synrl_ray.plasticity import torch_kernel
from synrl_ray.plasticity.factors import Modulation, STDPState
from synrl_ray.plasticity.kernel_choice import Kernel, choose_kernel
from synrl_ray.plasticity.pairing import check_fragment, stdp_factors
from synrl_ray.settings.plasticity import STDPConfig, WeightBounds


class Changes(NamedTuple):
    """Summed over the steps, before learning rates and averages."""

    delta: Tensor
    """``[I, O]``, summed over the batch too"""
    eligibility: Tensor
    """``[B, I, O]`` after the last step; empty without a modulation"""
    state: STDPState


def fragment_changes(
    pre_spikes: Tensor,
    post_spikes: Tensor,
    state: STDPState,
    config: STDPConfig,
    modulation: Modulation | None = None,
    *,
    weights: Tensor | None = None,
    bounds: WeightBounds | None = None,
    dt: float = 1.0,
    reset_mask: Tensor | None = None,
    kernel: Kernel = "auto",
) -> Changes:
    """Change, eligibility and traces after a fragment; see :func:`~synrl_ray.plasticity.stdp.stdp`.

    Args:
        pre_spikes, post_spikes: ``[T, B, I]`` and ``[T, B, O]``.
        state: traces before the first step.
        config: the rule.
        modulation: how much each step's pairs count; without it each counts once and there is no eligibility.
        weights, bounds: of multiplicative rules.
        dt: simulation step in ms.
        reset_mask: ``[T, B]``, true where an episode starts.
        kernel: which.

    Raises:
        ValueError: for tensors that do not fit, or a multiplicative rule without weights and bounds.
    """
    pre_spikes, post_spikes = check_fragment(pre_spikes, post_spikes, state, config, reset_mask)
    room = None if config.dependence == "additive" else _room(weights, bounds)
    others = (room, None if modulation is None else modulation.eligibility)
    one_type = all(other is None or other.dtype == state.pre.dtype for other in others)
    if one_type and choose_kernel(kernel, state.pre) is not torch_kernel:
        from synrl_ray.plasticity import events  # numba takes half a second to import

        listed = events.list_spikes(pre_spikes, post_spikes.shape[2], state, config, dt, reset_mask)
        if listed is not None:
            return Changes(*events.sum_spikes(listed, post_spikes, state, config, dt, reset_mask, modulation, room))
    factors, after = stdp_factors(pre_spikes, post_spikes, state, config, dt, reset_mask, kernel)
    delta = _less(*torch_kernel.pair_sums(factors, None if modulation is None else modulation.scale), room)
    if modulation is None:
        return Changes(delta, delta.new_empty(0, 0, 0), after)
    eligibility = _less(*torch_kernel.pair_sums_per_row(factors, modulation.left), room)
    delta += torch.tensordot(modulation.kept, modulation.eligibility, 1)
    eligibility.addcmul_(modulation.kept_left.view(-1, 1, 1), modulation.eligibility)
    return Changes(delta, eligibility, after)


def _room(weights: Tensor | None, bounds: WeightBounds | None) -> Tensor:
    """What is left above, and below, a weight between soft bounds: ``[2, I, O]``."""
    if weights is None or bounds is None:
        raise ValueError("a multiplicative rule needs weights and bounds")
    return torch.stack(((bounds.w_max - weights).clamp_min(0), (weights - bounds.w_min).clamp_min(0)))


def _less(potentiation: Tensor, depression: Tensor, room: Tensor | None) -> Tensor:
    """Potentiation less depression, ``[..., I, O]``."""
    return potentiation - depression if room is None else room[0] * potentiation - room[1] * depression
