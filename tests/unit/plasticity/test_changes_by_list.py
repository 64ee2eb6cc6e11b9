"""Changes from lists of spikes against those of dense products, over random activity, rules, resets and rewards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.plasticity import events
from synrl_ray.plasticity.pairing import initial_state
from synrl_ray.plasticity.reward_modulated import EligibilityState, reward_modulated_stdp
from synrl_ray.plasticity.stdp import stdp
from synrl_ray.settings.plasticity import PairSTDP, RewardModulatedSTDP, TripletSTDP, WeightBounds

F32, F64 = torch.float32, torch.float64
BOUNDS = WeightBounds(w_min=-0.5, w_max=1.5)
KINDS = {"pair": PairSTDP, "triplet": TripletSTDP}
TRIPLETS = {"a2_plus": 0.004, "a2_minus": 0.007, "a3_plus": 0.006, "a3_minus": 0.002}


def rule(kind="pair", pairing="all_to_all", dependence="additive", **options):
    return KINDS[kind](pairing=pairing, dependence=dependence, **(TRIPLETS if kind == "triplet" else {}), **options)


def moved(config, batch, num_pre, num_post, generator, dtype):
    """Traces of a network that has spiked before."""
    state = initial_state(config, batch, num_pre, num_post, dtype)
    return type(state)(*(None if x is None else torch.rand(x.shape, generator=generator, dtype=dtype) for x in state))


def fragment(shape, rates, config, seed, dtype, *, resets=0.1, rewards=0.3):
    steps, batch, num_pre, num_post = shape
    g = torch.Generator().manual_seed(seed)
    pre, post = (
        (torch.rand(steps, batch, n, generator=g) < rate).to(dtype)
        for n, rate in zip((num_pre, num_post), rates, strict=True)
    )
    mask = torch.rand(steps, batch, generator=g) < resets
    modulator = torch.randn(steps, batch, generator=g, dtype=F64).to(dtype)
    modulator[torch.rand(steps, batch, generator=g) >= rewards] = 0
    weights = torch.rand(num_pre, num_post, generator=g, dtype=F64).to(dtype)
    past = torch.randn(batch, num_pre, num_post, generator=g, dtype=F64).to(dtype) * 0.01
    return pre, post, modulator, mask, weights, EligibilityState(moved(config, *shape[1:], g, dtype), past)


def learned(data, config, kernel, *, masked=True):
    """Changes and every part of the state, of STDP and of its reward-modulated form."""
    pre, post, modulator, mask, weights, state = data
    options = {"weights": weights, "bounds": BOUNDS, "kernel": kernel, "reset_mask": mask if masked else None}
    delta, after = stdp(pre, post, state.stdp, config, **options)
    modulated = RewardModulatedSTDP(stdp=config, tau_e=30.0)
    proposal = reward_modulated_stdp(pre, post, modulator, state, modulated, **options)
    return [delta, proposal.delta, proposal.state.eligibility, *after, *proposal.state.stdp]


def assert_same(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        if b is None:
            assert a is None
        else:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture
def no_products(monkeypatch):
    """Lists or nothing."""

    def refuse(*_):
        raise AssertionError("dense products were asked for")

    monkeypatch.setattr("synrl_ray.plasticity.torch_kernel.pair_sums", refuse)


rates = st.sampled_from([0.0, 0.02, 0.06, 0.2, 0.6, 1.0])


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 25), st.integers(1, 4), st.integers(1, 9), st.integers(1, 21)),
    activity=st.tuples(rates, rates),
    kind=st.sampled_from(list(KINDS)),
    pairing=st.sampled_from(["all_to_all", "nearest"]),
    dependence=st.sampled_from(["additive", "multiplicative"]),
    masked=st.booleans(),
    rewards=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 1000),
)
def test_lists_give_what_products_give(shape, activity, kind, pairing, dependence, masked, rewards, seed):
    config = rule(kind, pairing, dependence)
    for dtype, tolerance in ((F64, 1e-12), (F32, 1e-5)):  # terms of up to 10, which cancel
        data = fragment(shape, activity, config, seed, dtype, rewards=rewards)
        expected = learned(data, config, "torch", masked=masked)
        assert_same(learned(data, config, "numba", masked=masked), expected, tolerance)


@pytest.mark.usefixtures("no_products")
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_small_fragments_are_lists_at_any_activity(rate):
    config = rule()
    learned(fragment((20, 2, 8, 4), (rate, rate), config, 0, F32), config, "auto")


@pytest.mark.parametrize(("fired", "listed"), [(0, True), (50, True), (51, False), (100, False)])
def test_where_more_than_half_of_a_large_layer_fires_products_do_it(fired, listed, monkeypatch):
    monkeypatch.setattr(events, "FEW_UPDATES", 0)
    config, pre = rule(), torch.zeros(10, 1, 10, dtype=F64)
    pre.view(-1)[:fired] = 1
    state = initial_state(config, 1, 10, 3, F64)
    assert (events.list_spikes(pre, 3, state, config, 1.0, None) is not None) == listed
    post = torch.ones(10, 1, 3, dtype=F64)
    assert_same(stdp(pre, post, state, config)[1], stdp(pre, post, state, config, kernel="torch")[1], 1e-12)
    torch.testing.assert_close(
        stdp(pre, post, state, config)[0], stdp(pre, post, state, config, kernel="torch")[0], rtol=0, atol=1e-14
    )


@pytest.mark.usefixtures("no_products")
@pytest.mark.parametrize("pairing", ["all_to_all", "nearest"])
@pytest.mark.parametrize("tau", [2.0, 20.0, 1e6])
def test_float32_keeps_five_digits_of_what_is_added(pairing, tau, monkeypatch):
    """Relative to the largest sum of potentiation, or of depression; rises of slow traces are nearly nothing."""
    monkeypatch.setattr(events, "MOST_SPIKES", 1.0)
    for term in ("a_plus", "a_minus"):
        config = rule(pairing=pairing, tau_plus=tau, tau_minus=tau, **({"a_plus": 0.0, "a_minus": 0.0} | {term: 1.0}))
        for rate in (0.02, 0.3, 1.0):
            data = fragment((400, 2, 20, 40), (rate, rate), config, 3, F32, resets=0.0)
            pre, post, *_, state = data
            found = stdp(pre, post, state.stdp, config)[0].double()
            wide = type(state.stdp)(*(None if x is None else x.double() for x in state.stdp))
            exact = stdp(pre.double(), post.double(), wide, config)[0]
            assert (found - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_views_are_taken_and_nothing_given_is_changed():
    config = rule("triplet")
    pre, post, modulator, mask, weights, state = fragment((12, 3, 5, 4), (0.3, 0.3), config, 1, F64)

    def strided(x):
        return torch.stack((x, -x), dim=-1)[..., 0]

    views = EligibilityState(type(state.stdp)(*map(strided, state.stdp)), strided(state.eligibility))
    copies = [x.clone() for x in (*views.stdp, views.eligibility)]
    expected = learned((pre, post, modulator, mask, weights, state), config, "torch")
    given = (strided(pre), strided(post), strided(modulator), strided(mask.int()).bool(), strided(weights), views)
    assert_same(learned(given, config, "numba"), expected, 1e-12)
    assert all(torch.equal(a, b) for a, b in zip((*views.stdp, views.eligibility), copies, strict=True))


def test_weights_of_another_type_are_left_to_torch():
    config = rule(dependence="multiplicative")
    pre, post, modulator, mask, weights, state = fragment((12, 3, 5, 4), (0.3, 0.3), config, 1, F32)
    data = (pre, post, modulator, mask, weights.double(), state)
    assert_same(learned(data, config, "numba"), learned(data, config, "torch"), 1e-6)
