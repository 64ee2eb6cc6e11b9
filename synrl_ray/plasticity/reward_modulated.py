r"""Reward-modulated STDP: three factors, pre, post, and a modulator that may come late.

Each row b of the batch has its own eligibility trace, weights are shared:

.. math::
    e_t &= \lambda_e\, e_{t-1} + \text{STDP}_t, \qquad \lambda_e = e^{-\Delta t/\tau_e} \\
    \Delta w_t &= \eta\, \langle m_{tb}\, e_{tb} \rangle_b

The step's own spikes are in the trace that its modulator meets: an action's reward finds the spikes that chose it.
Florian (2007) uses a modulator of the next step, and has :math:`1/\tau_e` in the trace.

A fragment's change needs no trace at every step. With :math:`M_t = m_t + \lambda_e M_{t+1}`, cut at resets,

.. math:: \sum_t m_t\, e_t = \lambda_e M_0\, e_{-1} + \sum_t M_t\, \text{STDP}_t

so that only spikes cost anything.

References:
    Izhikevich (2007), doi:10.1093/cercor/bhl152. Florian (2007), doi:10.1162/neco.2007.19.6.1468 (MSTDPET). Frémaux &
    Gerstner (2016), doi:10.3389/fncir.2015.00085.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from synrl_ray.plasticity.changes import fragment_changes
from synrl_ray.plasticity.factors import Modulation, STDPState
from synrl_ray.plasticity.kernel_choice import Kernel, choose_kernel, decay_factor
from synrl_ray.plasticity.modulation import finite_or_zero
from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.plasticity.stdp import Reduction, batch_scale
from synrl_ray.settings.plasticity import RewardModulatedSTDP, WeightBounds


class EligibilityState(NamedTuple):
    """What reward-modulated STDP carries from fragment to fragment."""

    stdp: STDPState
    eligibility: Tensor
    """``[B, I, O]``"""


class Proposal(NamedTuple):
    """What a fragment asks for."""

    delta: Tensor
    """``[I, O]``"""
    state: EligibilityState
    num_skipped: int
    """Modulator values that were not finite, and changed nothing."""


def initial_eligibility(
    config: RewardModulatedSTDP,
    batch: int,
    num_pre: int,
    num_post: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> EligibilityState:
    """Traces at rest; ``dtype`` is what the rule computes in."""
    eligibility = torch.zeros(batch, num_pre, num_post, dtype=dtype, device=device)
    return EligibilityState(initial_state(config.stdp, batch, num_pre, num_post, dtype, device), eligibility)


def reward_modulated_stdp(
    pre_spikes: Tensor,
    post_spikes: Tensor,
    modulator: Tensor,
    state: EligibilityState,
    config: RewardModulatedSTDP,
    *,
    weights: Tensor | None = None,
    bounds: WeightBounds | None = None,
    dt: float = 1.0,
    reset_mask: Tensor | None = None,
    reduction: Reduction = "mean",
    kernel: Kernel = "auto",
) -> Proposal:
    """Propose the weight change of a fragment; nothing is applied or mutated.

    Args:
        pre_spikes, post_spikes: spikes, 0 or 1.
        modulator: third factor: a reward-prediction error (:func:`reward_prediction_error`), a critic's TD error, or
            a raw reward. A value that is not finite counts as zero, is logged and counted.
        state: from :func:`initial_eligibility` or the previous fragment.
        config: the rule; time constants in ms.
        weights, bounds: read by multiplicative rules only, which scale what enters the trace with the weights
            handed in.
        dt: simulation step in ms.
        reset_mask: true where an episode starts: that row's traces, eligibility too, are zero before the step.
        reduction: average or sum over the batch; sums over time either way.
        kernel: ``"numba"`` on CPU, ``"torch"`` anywhere, ``"auto"`` chooses.

    Shape:
        pre_spikes ``[T, B, I]``, post_spikes ``[T, B, O]``, modulator and reset_mask ``[T, B]``, weights ``[I, O]``
        → delta ``[I, O]``.

    Raises:
        ValueError: for tensors that do not fit, or a multiplicative rule without weights and bounds.

    Example:
        >>> import torch
        >>> from synrl_ray.settings.plasticity import PairSTDP
        >>> pre, post = torch.zeros(2, 3, 1, 1)
        >>> pre[0], post[0] = 1, 1  # together: a_plus - a_minus
        >>> rule = RewardModulatedSTDP(stdp=PairSTDP(a_plus=2.0, a_minus=1.0), tau_e=20.0)
        >>> reward = torch.tensor([[0.0], [0.0], [1.0]])  # 2 ms late
        >>> proposal = reward_modulated_stdp(pre, post, reward, initial_eligibility(rule, 1, 1, 1), rule)
        >>> round(proposal.delta.item(), 6)  # exp(-2 / 20)
        0.904837
    """
    _check(modulator, pre_spikes, state)
    modulator, num_skipped = finite_or_zero(modulator.to(state.eligibility.dtype), "modulator")
    chosen, decay = choose_kernel(kernel, state.eligibility), decay_factor(config.tau_e, dt)
    later, left = chosen.discounted_sums(modulator, decay, reset_mask), _left_at_end(modulator, decay, reset_mask)
    first_kept = decay if reset_mask is None else decay * (~reset_mask[0]).to(later.dtype)
    changes = fragment_changes(
        pre_spikes, post_spikes, state.stdp, config.stdp,
        Modulation(later, left, state.eligibility, first_kept * later[0], first_kept * left[0]),
        weights=weights, bounds=bounds, dt=dt, reset_mask=reset_mask, kernel=kernel,
    )  # fmt: skip
    delta = changes.delta.mul_(config.lr * batch_scale(pre_spikes, reduction))
    return Proposal(delta, EligibilityState(changes.state, changes.eligibility), num_skipped)


def _left_at_end(like: Tensor, decay: float, reset_mask: Tensor | None) -> Tensor:
    """``[T, B]``: how much of each step's contribution to the trace is left after the last step."""
    num_steps = like.shape[0]
    ages = torch.arange(num_steps - 1, -1, -1, device=like.device, dtype=like.dtype)
    left = torch.pow(decay, ages).unsqueeze(-1).expand_as(like)
    if reset_mask is None:
        return left.contiguous()
    resets_after = reset_mask.flip(0).cumsum(0).flip(0) - reset_mask.to(torch.int64)
    return left.masked_fill(resets_after > 0, 0)


def _check(modulator: Tensor, pre_spikes: Tensor, state: EligibilityState) -> None:
    if modulator.shape != pre_spikes.shape[:2]:
        raise ValueError(
            f"modulator must be [T, B] = {tuple(pre_spikes.shape[:2])}, got {tuple(modulator.shape)} "
            "(at_last_step makes it from [E, B])"
        )
    if state.eligibility.shape[0] != modulator.shape[1]:
        raise ValueError(f"eligibility has {state.eligibility.shape[0]} rows for a batch of {modulator.shape[1]}")
