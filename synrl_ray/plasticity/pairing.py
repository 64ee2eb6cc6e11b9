r"""From spikes to the factors of pair and triplet STDP.

Fast traces are updated *before* pairing: a coincident pair counts in both terms. With pre traces :math:`r`, post
traces :math:`o`, and slow traces taken just *before* the step's spike (:math:`t-\epsilon`),

.. math::
    \Delta w_{io} &= A_+\, r_i s_o - A_-\, s_i o_o && \text{(pair)} \\
    \Delta w_{io} &= r^1_i\, s_o\,\big[A_2^+ + A_3^+\, o^2_o(t-\epsilon)\big]
                   - o^1_o\, s_i\,\big[A_2^- + A_3^-\, r^2_i(t-\epsilon)\big] && \text{(triplet)}

References:
    Pairs: Song, Miller & Abbott (2000), doi:10.1038/78829. Triplets: Pfister & Gerstner (2006),
    doi:10.1523/JNEUROSCI.1425-06.2006.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.plasticity.factors import Factors, STDPState
from synrl_ray.plasticity.kernel_choice import Kernel, decay_factor
from synrl_ray.plasticity.traces import check_spikes, spike_traces
from synrl_ray.settings.plasticity import PairSTDP, STDPConfig, TripletSTDP


def initial_state(
    config: STDPConfig,
    batch: int,
    num_pre: int,
    num_post: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> STDPState:
    """Traces at rest; ``dtype`` is what the rule computes in."""
    pre = torch.zeros(batch, num_pre, dtype=dtype, device=device)
    post = torch.zeros(batch, num_post, dtype=dtype, device=device)
    if isinstance(config, TripletSTDP):
        return STDPState(pre, post, pre.clone(), post.clone())
    return STDPState(pre, post)


def stdp_factors(
    pre_spikes: Tensor,
    post_spikes: Tensor,
    state: STDPState,
    config: STDPConfig,
    dt: float = 1.0,
    reset_mask: Tensor | None = None,
    kernel: Kernel = "auto",
) -> tuple[Factors, STDPState]:
    """The factors of every step, and the traces after the last one.

    Raises:
        ValueError: for tensors that do not fit together, or a state of another rule.
    """
    pre_spikes, post_spikes = check_fragment(pre_spikes, post_spikes, state, config, reset_mask)

    def scan(spikes: Tensor, trace: Tensor, tau: float) -> Tensor:
        return spike_traces(spikes, trace, tau=tau, dt=dt, pairing=config.pairing, reset_mask=reset_mask, kernel=kernel)

    x, y = scan(pre_spikes, state.pre, config.tau_plus), scan(post_spikes, state.post, config.tau_minus)
    if isinstance(config, PairSTDP):
        factors = Factors(x, y, config.a_minus * pre_spikes, config.a_plus * post_spikes)
        return factors, STDPState(x[-1].clone(), y[-1].clone())
    pre_slow, post_slow = _slow_traces(state)
    r2, o2 = scan(pre_spikes, pre_slow, config.tau_x), scan(post_spikes, post_slow, config.tau_y)
    r2_before = _before(r2, pre_slow, decay_factor(config.tau_x, dt), reset_mask)
    o2_before = _before(o2, post_slow, decay_factor(config.tau_y, dt), reset_mask)
    pre_gain = pre_spikes * (config.a2_minus + config.a3_minus * r2_before)
    post_gain = post_spikes * (config.a2_plus + config.a3_plus * o2_before)
    return Factors(x, y, pre_gain, post_gain), STDPState(*(trace[-1].clone() for trace in (x, y, r2, o2)))


def check_fragment(
    pre_spikes: Tensor, post_spikes: Tensor, state: STDPState, config: STDPConfig, reset_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The spikes in the traces' dtype.

    Raises:
        ValueError: for tensors that do not fit together, or a state of another rule.
    """
    if pre_spikes.shape[:2] != post_spikes.shape[:2]:
        raise ValueError(
            f"pre and post spikes must share T and B, got {tuple(pre_spikes.shape)} and {tuple(post_spikes.shape)}"
        )
    check_spikes(pre_spikes, state.pre, reset_mask)
    check_spikes(post_spikes, state.post, reset_mask)
    if isinstance(config, TripletSTDP):
        _slow_traces(state)
    return pre_spikes.to(state.pre.dtype), post_spikes.to(state.pre.dtype)


def _slow_traces(state: STDPState) -> tuple[Tensor, Tensor]:
    if state.pre_slow is None or state.post_slow is None:
        raise ValueError("triplet STDP needs the slow traces in its state: make it by initial_state(config, ...)")
    return state.pre_slow, state.post_slow


def _before(traces: Tensor, trace: Tensor, decay: float, reset_mask: Tensor | None) -> Tensor:
    """Traces decayed to each step, without that step's spike."""
    before = torch.cat((trace.unsqueeze(0), traces[:-1])) * decay
    return before if reset_mask is None else before.masked_fill(reset_mask.unsqueeze(-1), 0)
