"""Eligibility and reward: equal to a plain Python loop, delayed rewards, resets, rewards that are not finite."""

import logging
import math

import pytest
import torch
from plain_loops import learn

from synrl_ray.plasticity.modulation import at_last_step, reward_prediction_error
from synrl_ray.plasticity.reward_modulated import initial_eligibility, reward_modulated_stdp
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, RewardPrediction, TripletSTDP, WeightBounds

KERNELS = ["torch", "numba"]
F64 = torch.float64
BOUNDS = WeightBounds(w_min=0.3, w_max=0.7)


def make(steps=60, batch=3, num_pre=3, num_post=2, dtype=F64):
    g = torch.Generator().manual_seed(3)
    pre = (torch.rand(steps, batch, num_pre, generator=g) < 0.2).to(dtype)
    post = (torch.rand(steps, batch, num_post, generator=g) < 0.2).to(dtype)
    modulator = torch.randn(steps, batch, generator=g, dtype=F64).to(dtype)
    modulator[torch.rand(steps, batch, generator=g) < 0.7] = 0  # most rewards come late
    weights = 0.3 + 0.4 * torch.rand(num_pre, num_post, generator=g, dtype=F64).to(dtype)
    mask = torch.rand(steps, batch, generator=g) < 0.04
    mask[25, batch // 2] = True
    return pre, post, modulator, weights, mask


def rule(kind="pair", dependence="additive", pairing="all_to_all"):
    options = {"dependence": dependence, "pairing": pairing}
    pair = PairSTDP(a_plus=0.1, a_minus=0.11, **options)
    triplet = TripletSTDP(a2_plus=0.05, a2_minus=0.07, a3_plus=0.06, a3_minus=0.02, **options)
    return RewardModulatedSTDP(stdp=pair if kind == "pair" else triplet, tau_e=40.0, lr=0.7)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dependence", ["additive", "multiplicative"])
@pytest.mark.parametrize(("kind", "pairing"), [("pair", "all_to_all"), ("pair", "nearest"), ("triplet", "all_to_all")])
def test_delayed_reward_against_the_plain_loop(kernel, dependence, kind, pairing):
    pre, post, modulator, weights, mask = make()
    config = rule(kind, dependence, pairing)
    state = initial_eligibility(config, 3, 3, 2, F64)
    options = {"dt": 0.8, "reset_mask": mask, "kernel": kernel}
    proposal = reward_modulated_stdp(pre, post, modulator, state, config, weights=weights, bounds=BOUNDS, **options)
    expected, eligibility = learn(weights, pre, post, modulator, config, BOUNDS, mask, 0.8)
    torch.testing.assert_close(proposal.delta, expected - weights, rtol=0, atol=1e-11)
    torch.testing.assert_close(proposal.state.eligibility, eligibility, rtol=0, atol=1e-11)
    assert (expected - weights).abs().max() > 0.01


@pytest.mark.parametrize("dependence", ["additive", "multiplicative"])
def test_float32_kernels_agree_to_1e_6(dependence):
    pre, post, modulator, weights, mask = make(batch=5, num_pre=8, num_post=6, dtype=torch.float32)
    config = RewardModulatedSTDP(stdp=PairSTDP(dependence=dependence), tau_e=40.0)
    state = initial_eligibility(config, 5, 8, 6)
    results = []
    for kernel in KERNELS:
        options = {"reset_mask": mask, "kernel": kernel}
        proposal = reward_modulated_stdp(pre, post, modulator, state, config, weights=weights, bounds=BOUNDS, **options)
        results.append((proposal.delta, proposal.state.eligibility))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert results[0][0].abs().max() > 1e-3


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_split_fragment_carries_its_eligibility(kernel):
    """A reward in the second half reaches spikes of the first; some rows reset at the cut, or in between."""
    pre, post, modulator, _, mask = make()
    mask[30, 0] = True
    config, state = rule(), initial_eligibility(rule(), 3, 3, 2, F64)
    whole = reward_modulated_stdp(pre, post, modulator, state, config, reset_mask=mask, kernel=kernel)
    cut = 30
    first = reward_modulated_stdp(
        pre[:cut], post[:cut], modulator[:cut], state, config, reset_mask=mask[:cut], kernel=kernel
    )
    second = reward_modulated_stdp(
        pre[cut:], post[cut:], modulator[cut:], first.state, config, reset_mask=mask[cut:], kernel=kernel
    )
    torch.testing.assert_close(first.delta + second.delta, whole.delta, rtol=0, atol=1e-12)
    torch.testing.assert_close(second.state.eligibility, whole.state.eligibility, rtol=0, atol=1e-12)
    assert second.delta.abs().max() > 1e-4


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_reward_passes_a_reset(kernel):
    pre, post = torch.zeros(2, 6, 1, 1, dtype=F64)
    pre[0], post[1] = 1, 1
    reward = torch.tensor([[0.0], [0.0], [0.0], [0.0], [0.0], [1.0]], dtype=F64)
    mask = torch.zeros(6, 1, dtype=torch.bool)
    state = initial_eligibility(rule(), 1, 1, 1, F64)
    assert reward_modulated_stdp(pre, post, reward, state, rule(), reset_mask=mask, kernel=kernel).delta.item() > 0
    mask[4] = True
    after = reward_modulated_stdp(pre, post, reward, state, rule(), reset_mask=mask, kernel=kernel)
    assert after.delta.item() == 0
    assert after.state.eligibility.item() == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_reward_of_an_action_finds_the_spikes_that_chose_it(kernel):
    """Reward and pairing in the same step: the full change, 0.7 * 2 * 0.1 * exp(-1 / 20)."""
    pre, post = torch.zeros(2, 2, 1, 1, dtype=F64)
    pre[0], post[1] = 1, 1
    reward = torch.tensor([[0.0], [2.0]], dtype=F64)
    delta = reward_modulated_stdp(pre, post, reward, initial_eligibility(rule(), 1, 1, 1, F64), rule()).delta
    assert delta.item() == pytest.approx(0.14 * math.exp(-1 / 20), abs=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_modulator_that_is_not_finite_is_named_skipped_and_counted(bad, caplog):
    pre, post, modulator, _, mask = make()
    state = initial_eligibility(rule(), 3, 3, 2, F64)
    modulator[12, 2] = modulator[20, 0] = 0
    expected = reward_modulated_stdp(pre, post, modulator, state, rule(), reset_mask=mask)
    modulator[12, 2] = modulator[20, 0] = bad
    with caplog.at_level(logging.WARNING, "synrl_ray.plasticity"):
        proposal = reward_modulated_stdp(pre, post, modulator, state, rule(), reset_mask=mask)
    assert (proposal.num_skipped, expected.num_skipped) == (2, 0)
    assert torch.equal(proposal.delta, expected.delta)
    assert torch.equal(proposal.state.eligibility, expected.state.eligibility)
    assert f"modulator is {bad} at step 12 in environment 2: 2 update(s) skipped" in caplog.text


def test_prediction_error_by_hand():
    """Rate 0.5: means 0, 2, 1 before the rewards 4, 0, 1 of the first environment."""
    reward = torch.tensor([[4.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    error, mean, skipped = reward_prediction_error(reward, torch.tensor([0.0, 1.0]), RewardPrediction(rate=0.5))
    assert error.tolist() == [[4.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]
    assert mean.tolist() == [1.0, 1.0]
    assert skipped == 0


def test_prediction_error_leaves_out_what_is_not_finite_or_no_transition(caplog):
    reward = torch.tensor([[2.0, 2.0], [math.nan, 5.0], [2.0, math.inf], [2.0, 2.0]])
    valid = torch.tensor([[True, True], [True, True], [True, False], [True, True]])
    error, mean, skipped = reward_prediction_error(reward, torch.zeros(2), RewardPrediction(rate=0.5), valid)
    assert error.tolist() == [[2.0, 2.0], [0.0, 4.0], [1.0, 0.0], [0.5, -1.0]]
    assert mean.tolist() == [1.75, 2.5]
    assert skipped == 1  # infinity stood where no transition was
    assert "reward is nan at step 1 in environment 0" in caplog.text


def test_bad_input():
    pre, post, modulator, _, _ = make()
    state = initial_eligibility(rule(), 3, 3, 2, F64)
    with pytest.raises(ValueError, match=r"modulator must be \[T, B\] = \(60, 3\), got \(59, 3\)"):
        reward_modulated_stdp(pre, post, modulator[1:], state, rule())
    with pytest.raises(ValueError, match="eligibility has 2 rows for a batch of 3"):
        reward_modulated_stdp(pre, post, modulator, initial_eligibility(rule(), 2, 3, 2, F64), rule())
    with pytest.raises(ValueError, match=r"reward must be \[E, B\]"):
        reward_prediction_error(torch.zeros(3, 2), torch.zeros(3), RewardPrediction())
    with pytest.raises(ValueError, match="num_steps must be >= 1"):
        at_last_step(torch.zeros(1, 1), 0)
