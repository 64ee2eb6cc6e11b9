"""Bounds are never crossed whatever happens; applying a change."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.errors import NonFiniteError
from synrl_ray.plasticity.bounds import apply_delta, clamp_weights
from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.plasticity.reward_modulated import initial_eligibility, reward_modulated_stdp
from synrl_ray.plasticity.stdp import stdp
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, TripletSTDP, WeightBounds

SYNAPSES, STEPS = (20, 25), 40  # of each fragment: 20,000 updates, and no fewer than 50 fragments

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "triplet": st.booleans(),
        "pairing": st.sampled_from(["all_to_all", "nearest"]),
        "dependence": st.sampled_from(["additive", "multiplicative"]),
        "amplitude": st.floats(0, 3),
        "rate": st.floats(0, 1),
        "w_min": st.floats(-1, 0.5),
        "width": st.floats(0.01, 2),
        "dtype": st.sampled_from([torch.float32, torch.float64]),
        "form": st.sampled_from(["spikes", "reward"]),
    }
)


def fragment(case):
    """Weights after one fragment of random spikes, and their limits."""
    g = torch.Generator().manual_seed(case["seed"])
    dtype, (num_pre, num_post), a = case["dtype"], SYNAPSES, case["amplitude"]
    bounds = WeightBounds(w_min=case["w_min"], w_max=case["w_min"] + case["width"])
    options = {"pairing": case["pairing"], "dependence": case["dependence"]}
    rule = (
        TripletSTDP(a2_plus=a, a2_minus=a, a3_plus=a, a3_minus=a, **options)
        if case["triplet"]
        else PairSTDP(a_plus=a, a_minus=a, **options)
    )
    pre = torch.rand(STEPS, 2, num_pre, generator=g) < case["rate"]
    post = torch.rand(STEPS, 2, num_post, generator=g) < case["rate"]
    weights = clamp_weights(3 * torch.randn(num_pre, num_post, generator=g).to(dtype), bounds)
    state = initial_state(rule, 2, num_pre, num_post, dtype)
    if case["form"] == "spikes":
        delta, _ = stdp(pre, post, state, rule, weights=weights, bounds=bounds)
    else:
        config = RewardModulatedSTDP(stdp=rule, tau_e=20.0)
        modulator = torch.randn(STEPS, 2, generator=g)
        start = initial_eligibility(config, 2, num_pre, num_post, dtype)
        delta = reward_modulated_stdp(pre, post, modulator, start, config, weights=weights, bounds=bounds).delta
    limits = torch.tensor([bounds.w_min, bounds.w_max], dtype=dtype)
    return apply_delta(weights, delta, bounds), *limits


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases)
def test_bounds_are_never_crossed(case):
    """60 fragments of 500 synapses and 40 steps: 1.2 million updates. Bounds in float32 are those that were rounded."""
    weights, low, high = fragment(case)
    assert (weights >= low).all()
    assert (weights <= high).all()
    assert weights.isfinite().all()


@pytest.mark.parametrize("dependence", ["additive", "multiplicative"])
def test_bounds_hold_through_a_long_run(dependence):
    """The same weights for a million updates: they reach the bounds, and stay inside."""
    rule = PairSTDP(a_plus=0.2, a_minus=0.2, dependence=dependence)
    g = torch.Generator().manual_seed(0)
    weights, bounds = torch.rand(*SYNAPSES, generator=g), WeightBounds()
    state, lowest, highest = initial_state(rule, 2, *SYNAPSES), 1.0, 0.0
    for _ in range(50):
        pre, post = (torch.rand(STEPS, 2, n, generator=g) < 0.1 for n in SYNAPSES)
        delta, state = stdp(pre, post, state, rule, weights=weights, bounds=bounds)
        weights = apply_delta(weights, delta, bounds)
        assert weights.min() >= 0
        assert weights.max() <= 1
        lowest, highest = min(lowest, weights.min().item()), max(highest, weights.max().item())
    assert lowest < 0.05
    assert highest > 0.95


def test_weights_outside_their_bounds_are_brought_back():
    weights = torch.tensor([[1.5, -0.5]])
    assert apply_delta(weights, torch.zeros(1, 2), WeightBounds()).tolist() == [[1.0, 0.0]]
    assert clamp_weights(weights, WeightBounds()).tolist() == [[1.0, 0.0]]


def test_applying_changes_nothing_in_place():
    weights, delta = torch.full((2, 2), 0.5), torch.full((2, 2), 0.25)
    assert torch.equal(apply_delta(weights, delta, WeightBounds()), torch.full((2, 2), 0.75))
    assert torch.equal(weights, torch.full((2, 2), 0.5))


def test_bad_input():
    weights = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="weight bounds cross"):
        WeightBounds(w_min=1.0)
    with pytest.raises(ValueError, match="differ in shape"):
        apply_delta(weights, torch.zeros(3, 2), WeightBounds())
    with pytest.raises(NonFiniteError, match=r"delta is not finite \(plastic weights\)"):
        apply_delta(weights, torch.full((2, 3), math.nan), WeightBounds())
