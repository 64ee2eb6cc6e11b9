"""What must hold for every network and input: spikes are binary, rows do not see each other, order does not matter."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.snn import LIF, SpikingMLP, Surrogate, stack

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "observations": st.integers(1, 3),
        "k": st.integers(1, 4),
        "batch": st.integers(1, 6),
        "hidden": st.lists(st.integers(1, 12), min_size=1, max_size=3),
        "reset": st.sampled_from(["subtract", "zero", "none"]),
        "beta": st.floats(0, 1),
        "threshold": st.floats(0.1, 2),
        "rows": st.sampled_from([0, 10**6]),
    }
)
few = settings(max_examples=25, deadline=None)


def build(case):
    torch.manual_seed(case["seed"])
    net = SpikingMLP(
        3, case["hidden"], 2, steps_per_observation=case["k"], beta=case["beta"], threshold=case["threshold"],
        reset=case["reset"], gain=5.0,
    ).double()  # fmt: skip
    inputs = torch.randn(case["observations"], case["batch"], 3, dtype=torch.float64)
    return net, inputs, torch.randn(case["batch"], net.state_size, dtype=torch.float64)


@pytest.fixture(autouse=True, scope="module")
def _restore():
    before = stack.SMALL_ROWS
    yield
    stack.SMALL_ROWS = before


@few
@given(cases)
def test_spikes_are_binary_and_values_finite(case):
    net, inputs, state = build(case)
    outputs, final, spikes = net.forward_with_spikes(inputs, state)
    for layer in spikes:
        assert ((layer == 0) | (layer == 1)).all()
    assert outputs.isfinite().all()
    assert final.isfinite().all()


@few
@given(cases)
def test_rows_do_not_see_each_other(case):
    stack.SMALL_ROWS = case["rows"]
    net, inputs, state = build(case)
    outputs, final = net(inputs, state)
    for b in range(case["batch"]):
        alone, alone_final = net(inputs[:, b : b + 1], state[b : b + 1])
        torch.testing.assert_close(alone[:, 0], outputs[:, b], rtol=0, atol=1e-10)
        torch.testing.assert_close(alone_final[0], final[b], rtol=0, atol=1e-10)


@few
@given(cases)
def test_permuting_rows_permutes_results(case):
    stack.SMALL_ROWS = case["rows"]
    net, inputs, state = build(case)
    order = torch.randperm(case["batch"])
    outputs, final = net(inputs, state)
    permuted, permuted_final = net(inputs[:, order], state[order])
    torch.testing.assert_close(permuted, outputs[:, order], rtol=0, atol=1e-10)
    torch.testing.assert_close(permuted_final, final[order], rtol=0, atol=1e-10)


@few
@given(cases)
def test_the_gradient_of_a_batch_is_the_sum_over_rows(case):
    stack.SMALL_ROWS = case["rows"]
    net, inputs, state = build(case)
    parameters = list(net.parameters())
    whole = torch.autograd.grad(net(inputs, state)[0].sum(), parameters)
    parts = [
        torch.autograd.grad(net(inputs[:, b : b + 1], state[b : b + 1])[0].sum(), parameters)
        for b in range(case["batch"])
    ]
    for i, gradient in enumerate(whole):
        torch.testing.assert_close(gradient, sum(part[i] for part in parts), rtol=1e-8, atol=1e-8)


@few
@given(st.integers(0, 2**16), st.floats(0.05, 0.95), st.floats(0.1, 2))
def test_more_current_never_means_a_lower_membrane_without_reset(seed, beta, threshold):
    torch.manual_seed(seed)
    current = torch.randn(6, 2, 3)
    neuron = LIF(beta, threshold, reset="none", surrogate=Surrogate("atan"))
    less, more = neuron.scan(current)[1], neuron.scan(current + 0.1)[1]
    assert (more >= less).all()
