"""STDP: the measured window, kernels, soft bounds, resets, bad input."""

import math

import pytest
import torch
from plain_loops import synapse

from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.plasticity.stdp import stdp
from synrl_ray.settings.plasticity import PairSTDP, TripletSTDP, WeightBounds

KERNELS = ["torch", "numba"]
F64 = torch.float64
PAIR = PairSTDP(a_plus=0.01, a_minus=0.012, tau_plus=17.0, tau_minus=34.0)
TRIPLET = TripletSTDP(a2_plus=0.004, a2_minus=0.007, a3_plus=0.006, a3_minus=0.002)
RULES = [PAIR, TRIPLET]


def spikes(steps, batch, num_pre, num_post, seed=0, rate=0.15, dtype=F64):
    g = torch.Generator().manual_seed(seed)
    pre = (torch.rand(steps, batch, num_pre, generator=g) < rate).to(dtype)
    return pre, (torch.rand(steps, batch, num_post, generator=g) < rate).to(dtype)


def train(*times, steps=200):
    out = torch.zeros(steps, 1, 1, dtype=F64)
    for t in times:
        out[t] = 1
    return out


def change(rule, pre, post, **options):
    return stdp(pre, post, initial_state(rule, pre.shape[1], pre.shape[2], post.shape[2], F64), rule, **options)[0]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pairing", ["all_to_all", "nearest"])
@pytest.mark.parametrize("dt", [0.5, 1.0])
def test_pair_window(kernel, pairing, dt):
    """dw = A+ exp(-lag / tau+) for pre before post, -A- exp(lag / tau-) for post before pre, the sum at lag 0."""
    rule = PairSTDP(a_plus=0.01, a_minus=0.012, tau_plus=17.0, tau_minus=34.0, pairing=pairing)
    for lag in range(-60, 61):
        measured = change(rule, train(100), train(100 + lag), dt=dt, kernel=kernel).item()
        potentiation = 0.01 * math.exp(-lag * dt / 17.0) if lag >= 0 else 0.0
        depression = 0.012 * math.exp(lag * dt / 34.0) if lag <= 0 else 0.0
        assert measured == pytest.approx(potentiation - depression, abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_triplet_window(kernel):
    """Post, pre, post: pre meets the first post, the second post meets pre and the slow trace of the first."""
    r = TRIPLET
    for first in range(1, 40, 3):
        for second in range(1, 40, 3):
            measured = change(r, train(100), train(100 - first, 100 + second), kernel=kernel).item()
            up = math.exp(-second / r.tau_plus) * (r.a2_plus + r.a3_plus * math.exp(-(first + second) / r.tau_y))
            down = math.exp(-first / r.tau_minus) * r.a2_minus
            assert measured == pytest.approx(up - down, abs=1e-12)
            measured = change(r, train(100 - first, 100 + second), train(100), kernel=kernel).item()  # pre, post, pre
            up = math.exp(-first / r.tau_plus) * r.a2_plus
            down = math.exp(-second / r.tau_minus) * (r.a2_minus + r.a3_minus * math.exp(-(first + second) / r.tau_x))
            assert measured == pytest.approx(up - down, abs=1e-12)


def test_triplets_need_no_triplet_in_their_first_spike():
    """The slow trace is read before the spike that it belongs to: a pair feels no triplet term."""
    only_triplets = TripletSTDP(a2_plus=0, a2_minus=0, a3_plus=1, a3_minus=1)
    assert change(only_triplets, train(10), train(12)).item() == 0
    assert change(only_triplets, train(10), train(12, 13)).item() > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pairing", ["all_to_all", "nearest"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_against_the_plain_loop(rule, pairing, kernel):
    rule = type(rule)(**{**vars(rule), "pairing": pairing})
    pre, post = spikes(60, 3, 2, 2)
    mask = torch.zeros(60, 3, dtype=torch.bool)
    mask[20, 1] = mask[0, 0] = mask[41, 1] = True
    actual = change(rule, pre, post, dt=0.7, reset_mask=mask, kernel=kernel)
    for i in range(2):
        for o in range(2):
            terms = [
                synapse(pre[:, b, i].tolist(), post[:, b, o].tolist(), rule, 0.7, mask[:, b].tolist()) for b in range(3)
            ]
            expected = sum(up - down for row in terms for up, down in row) / 3
            assert actual[i, o].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dependence", ["additive", "multiplicative"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-12), (torch.float32, 1e-6)])
def test_kernels_agree(rule, dependence, dtype, tolerance):
    rule = type(rule)(**{**vars(rule), "dependence": dependence})
    pre, post = spikes(50, 4, 7, 9, dtype=dtype)
    mask = torch.rand(50, 4, generator=torch.Generator().manual_seed(1)) < 0.05
    bounds = WeightBounds(w_min=0.3, w_max=0.7)
    weights = 0.4 + 0.2 * torch.rand(7, 9, dtype=dtype, generator=torch.Generator().manual_seed(2))
    state = initial_state(rule, 4, 7, 9, dtype)
    results = []
    for kernel in KERNELS:
        options = {"reset_mask": mask, "kernel": kernel}
        delta, after = stdp(pre, post, state, rule, weights=weights, bounds=bounds, **options)
        results.append([delta, *after])
    for a, b in zip(*results, strict=True):
        if b is None:
            assert a is None
        else:
            torch.testing.assert_close(a, b, rtol=0, atol=tolerance)
    assert results[0][0].abs().max() > 1e-3


@pytest.mark.parametrize("kernel", KERNELS)
def test_soft_bounds_by_hand(kernel):
    """Pre and post 4 ms apart at w = 0.75 in [0, 1]: a quarter of the potentiation, 3 / 4 of the depression."""
    rule = PairSTDP(a_plus=0.01, a_minus=0.02, dependence="multiplicative")
    weights = torch.full((1, 1), 0.75, dtype=F64)
    options = {"weights": weights, "bounds": WeightBounds(), "kernel": kernel}
    up = change(rule, train(10), train(14), **options).item()
    down = change(rule, train(14), train(10), **options).item()
    assert up == pytest.approx(0.25 * 0.01 * math.exp(-4 / 20), abs=1e-12)
    assert down == pytest.approx(-0.75 * 0.02 * math.exp(-4 / 20), abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_split_fragment_proposes_the_same(rule, kernel):
    pre, post = spikes(50, 4, 7, 9)
    state = initial_state(rule, 4, 7, 9, F64)
    whole, end = stdp(pre, post, state, rule, kernel=kernel)
    first, middle = stdp(pre[:21], post[:21], state, rule, kernel=kernel)
    second, split_end = stdp(pre[21:], post[21:], middle, rule, kernel=kernel)
    torch.testing.assert_close(first + second, whole, rtol=0, atol=1e-12)
    for a, b in zip(split_end, end, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_the_batch_is_averaged_and_rows_do_not_see_each_other():
    pre, post = spikes(50, 4, 7, 9)
    alone = [change(PAIR, pre[:, b : b + 1], post[:, b : b + 1]) for b in range(4)]
    torch.testing.assert_close(change(PAIR, pre, post), sum(alone) / 4, rtol=0, atol=1e-12)
    torch.testing.assert_close(change(PAIR, pre, post, reduction="sum"), sum(alone), rtol=0, atol=1e-12)


def test_inputs_are_left_alone_and_bool_spikes_are_taken():
    pre, post = spikes(20, 2, 3, 4)
    state = initial_state(PAIR, 2, 3, 4, F64)
    copies = [x.clone() for x in (pre, post, *state[:2])]
    delta, _ = stdp(pre, post, state, PAIR)
    for before, now in zip(copies, (pre, post, *state[:2]), strict=True):
        assert torch.equal(before, now)
    assert torch.equal(stdp(pre.bool(), post.bool(), state, PAIR)[0], delta)


def test_bad_input():
    pre, post = spikes(5, 2, 3, 4)
    state = initial_state(PAIR, 2, 3, 4, F64)
    with pytest.raises(ValueError, match="must share T and B"):
        stdp(pre, post[:4], state, PAIR)
    with pytest.raises(ValueError, match="triplet STDP needs the slow traces"):
        stdp(pre, post, state, TRIPLET)
    with pytest.raises(ValueError, match="multiplicative rule needs weights and bounds"):
        stdp(pre, post, state, PairSTDP(dependence="multiplicative"))
    with pytest.raises(ValueError, match="reduction must be mean or sum, got 'max'"):
        stdp(pre, post, state, PAIR, reduction="max")
