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
    soft = None if config.dependence == "additive" else _room(weights, bounds)
    given = (pre_spikes, post_spikes, state, config, modulation, soft, dt, reset_mask)
    one_type = modulation is None or modulation.eligibility.dtype == state.pre.dtype
    if one_type and choose_kernel(kernel, state.pre) is not torch_kernel:
        found = _by_lists(*given)
        if found is not None:
            return found
    return _by_products(*given, kernel)


Room = tuple[Tensor, Tensor]
"""What is left of a soft bound above, and below, ``[I, O]``."""


def _room(weights: Tensor | None, bounds: WeightBounds | None) -> Room:
    if weights is None or bounds is None:
        raise ValueError("a multiplicative rule needs weights and bounds")
    return (bounds.w_max - weights).clamp_min(0), (weights - bounds.w_min).clamp_min(0)


def _by_lists(
    pre: Tensor, post: Tensor, state: STDPState, config: STDPConfig, modulation: Modulation | None, soft: Room | None,
    dt: float, mask: Tensor | None,
) -> Changes | None:  # fmt: skip
    from synrl_ray.plasticity import events  # numba takes half a second to import

    listed = events.list_spikes(pre, state, config, dt, mask)
    if listed is None:
        return None
    given = (listed, post, state, config, dt, mask, modulation)
    if soft is None:
        return Changes(*events.sum_spikes(*given))
    up, ups, after = events.sum_spikes(*given, terms="potentiation")
    down, downs, _ = events.sum_spikes(*given, terms="depression")
    delta = soft[0] * up + soft[1] * down
    if modulation is None:
        return Changes(delta, ups, after)
    return _with_past(delta, soft[0] * ups + soft[1] * downs, after, modulation)


def _by_products(
    pre: Tensor, post: Tensor, state: STDPState, config: STDPConfig, modulation: Modulation | None, soft: Room | None,
    dt: float, mask: Tensor | None, kernel: Kernel,
) -> Changes:  # fmt: skip
    factors, after = stdp_factors(pre, post, state, config, dt, mask, kernel)

    def combined(potentiation: Tensor, depression: Tensor) -> Tensor:
        return potentiation - depression if soft is None else soft[0] * potentiation - soft[1] * depression

    if modulation is None:
        return Changes(combined(*torch_kernel.pair_sums(factors, None)), state.pre.new_empty(0, 0, 0), after)
    delta = combined(*torch_kernel.pair_sums(factors, modulation.scale))
    return _with_past(delta, combined(*torch_kernel.pair_sums_per_row(factors, modulation.left)), after, modulation)


def _with_past(delta: Tensor, eligibility: Tensor, after: STDPState, modulation: Modulation) -> Changes:
    """The same with what the fragment began with."""
    delta += torch.tensordot(modulation.kept, modulation.eligibility, 1)
    eligibility.addcmul_(modulation.kept_left.view(-1, 1, 1), modulation.eligibility)
    return Changes(delta, eligibility, after)
