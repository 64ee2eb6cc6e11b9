"""Plasticity by plain Python loops over scalars: slow, and written from the equations alone."""

from __future__ import annotations

import math

from torch import Tensor

from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, TripletSTDP, WeightBounds


def synapse(
    pre: list[float],
    post: list[float],
    rule: PairSTDP | TripletSTDP,
    dt: float,
    resets: list[bool],
) -> list[tuple[float, float]]:
    """Potentiation and depression of one synapse in one environment at every step, from rest."""
    terms = []
    triplet = isinstance(rule, TripletSTDP)
    taus = [rule.tau_plus, rule.tau_minus] + ([rule.tau_x, rule.tau_y] if triplet else [])
    traces = [0.0] * len(taus)
    for s_pre, s_post, is_reset in zip(pre, post, resets, strict=True):
        if is_reset:
            traces = [0.0] * len(taus)
        before = [trace * math.exp(-dt / tau) for trace, tau in zip(traces, taus, strict=True)]
        spikes = [s_pre, s_post, s_pre, s_post]
        if rule.pairing == "nearest":
            traces = [1.0 if s else trace for trace, s in zip(before, spikes, strict=False)]
        else:
            traces = [trace + s for trace, s in zip(before, spikes, strict=False)]
        if triplet:
            up = traces[0] * s_post * (rule.a2_plus + rule.a3_plus * before[3])
            down = traces[1] * s_pre * (rule.a2_minus + rule.a3_minus * before[2])
        else:
            up, down = rule.a_plus * traces[0] * s_post, rule.a_minus * traces[1] * s_pre
        terms.append((up, down))
    return terms


def learn(
    weights: Tensor,
    pre: Tensor,
    post: Tensor,
    modulator: Tensor,
    config: RewardModulatedSTDP,
    bounds: WeightBounds,
    resets: Tensor,
    dt: float,
) -> tuple[Tensor, Tensor]:
    """Weights and eligibility after a fragment from rest; the batch is averaged, bounds are not met."""
    num_steps, batch, num_pre = pre.shape
    result, eligibility = weights.clone(), pre.new_zeros(batch, num_pre, post.shape[2])
    soft = config.stdp.dependence == "multiplicative"
    for i in range(num_pre):
        for o in range(post.shape[2]):
            terms = [
                synapse(pre[:, b, i].tolist(), post[:, b, o].tolist(), config.stdp, dt, resets[:, b].tolist())
                for b in range(batch)
            ]
            start = w = weights[i, o].item()
            e = [0.0] * batch
            for t in range(num_steps):
                change = 0.0
                for b in range(batch):
                    up, down = terms[b][t]
                    if soft:
                        up, down = up * (bounds.w_max - start), down * (start - bounds.w_min)
                    e[b] = (0.0 if resets[t, b] else e[b] * math.exp(-dt / config.tau_e)) + up - down
                    change += modulator[t, b].item() * e[b] / batch
                w += config.lr * change
            result[i, o] = w
            for b in range(batch):
                eligibility[b, i, o] = e[b]
    return result, eligibility
