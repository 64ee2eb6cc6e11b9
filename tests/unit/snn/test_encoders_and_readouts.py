"""Encoders and readouts: worked numbers, seeds, statistics, bad input."""

import math

import pytest
import torch

from synrl_ray.snn import LeakyReadout, encoders, readouts


def test_direct_is_a_view():
    inputs = torch.randn(2, 3)
    held = encoders.direct(inputs, 4)
    assert held.shape == (4, 2, 3)
    assert held.data_ptr() == inputs.data_ptr()
    assert torch.equal(held[3], inputs)


def test_rate_is_seeded_and_has_the_right_mean():
    rates = torch.tensor([[0.1, 0.5, 0.9]]).repeat(50, 1)
    first, second = (encoders.rate(rates, 200, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, encoders.rate(rates, 200, torch.Generator().manual_seed(8)))
    standard_error = math.sqrt(0.25 / (200 * 50))
    assert (first.mean((0, 1)) - rates[0]).abs().max() < 5 * standard_error
    assert set(first.unique().tolist()) == {0.0, 1.0}


def test_latency_spikes_once_and_in_order():
    values = torch.rand(64, generator=torch.Generator().manual_seed(0)) + 1e-3
    spikes = encoders.latency(values.clamp_max(1), 10)
    assert (spikes.sum(0) == 1).all()
    when = spikes.argmax(0)
    assert (when[values.argsort(descending=True)].diff() >= 0).all()


def test_population_code():
    """Three neurons at 0, 1, 2 with sigma 1: exp(-d^2 / 2)."""
    code = encoders.population(torch.tensor([[0.5, 2.0]]), torch.zeros(2), torch.full((2,), 2.0), 3)
    expected = [math.exp(-(d**2) / 2) for d in (0.5, 0.5, 1.5, 2.0, 1.0, 0.0)]
    assert code.flatten().tolist() == pytest.approx(expected)


def test_population_round_trip():
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 1.0])
    values = torch.tensor([[0.3, 0.5], [-0.4, 0.45]])
    decoded = readouts.population_vector(encoders.population(values, low, high, 21), low, high)
    torch.testing.assert_close(decoded, values, rtol=0, atol=1e-3)


def test_delta_and_its_memory():
    signal = torch.tensor([0.0, 0.2, 1.0, 0.5, 0.5]).view(5, 1, 1)
    whole = encoders.delta(signal, 0.3)
    assert whole[:, 0].tolist() == [[0, 0], [0, 0], [1, 0], [0, 1], [0, 0]]
    split = torch.cat((encoders.delta(signal[:2], 0.3), encoders.delta(signal[2:], 0.3, signal[1])))
    assert torch.equal(split, whole)


def test_over_steps():
    values = torch.tensor([1.0, 3.0, 2.0, 0.0, 6.0, 3.0]).view(6, 1, 1)
    expected = {"last": [2.0, 3.0], "max": [3.0, 6.0], "mean": [2.0, 3.0], "sum": [6.0, 9.0]}
    for how, result in expected.items():
        assert readouts.over_steps(values, 3, how).flatten().tolist() == result


def test_membrane_readout_last_equals_the_fused_one():
    torch.manual_seed(0)
    slow, fast = readouts.MembraneReadout(5, 2, hold=3), LeakyReadout(5, 2, hold=3)
    fast.linear.load_state_dict(slow.linear.state_dict())
    spikes, before = (torch.rand(12, 4, 5) < 0.3).float(), torch.randn(4, 2)
    mask = torch.rand(4, 4) < 0.3
    outputs, membrane = slow(spikes, before, mask)
    torch.testing.assert_close(outputs, fast(spikes, before, mask), rtol=0, atol=1e-6)
    torch.testing.assert_close(membrane, outputs[-1])


def test_a_silent_population_decodes_to_the_middle():
    assert readouts.population_vector(torch.zeros(4), torch.tensor([1.0]), torch.tensor([3.0])).item() == 2.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encoders.direct(torch.zeros(2), 0), "num_steps must be at least 1, got 0"),
        (lambda: encoders.direct(torch.tensor([math.nan]), 2), "input must be finite"),
        (lambda: encoders.rate(torch.tensor([0.2, 1.5]), 2), r"rates must lie in \[0, 1\], got 0.2 to 1.5"),
        (lambda: encoders.rate(torch.tensor([math.inf]), 2), "input must be finite"),
        (lambda: encoders.latency(torch.tensor([-0.5]), 2), r"rates must lie in \[0, 1\]"),
        (lambda: encoders.population(torch.zeros(1, 2), torch.zeros(2), torch.ones(2), 1), "at least 2 neurons"),
        (lambda: encoders.population(torch.zeros(1, 2), torch.zeros(3), torch.ones(3), 4), r"must be \(2,\), got"),
        (lambda: encoders.population(torch.zeros(1, 1), torch.ones(1), torch.ones(1), 4), "low must be below high"),
        (lambda: encoders.population(torch.zeros(1, 1), torch.zeros(1), torch.ones(1), 4, 0.0), "width must be"),
        (lambda: encoders.delta(torch.zeros(2, 1), 0.0), "threshold must be positive"),
        (lambda: encoders.delta(torch.zeros(2, 1), 0.1, torch.zeros(2)), r"previous must be \(1,\), got \(2,\)"),
        (lambda: readouts.over_steps(torch.zeros(5, 1, 1), 2, "last"), "5 simulation steps are not observations of 2"),
        (lambda: readouts.over_steps(torch.zeros(4, 1, 1), 2, "median"), "unknown reduction 'median'"),
        (lambda: readouts.MembraneReadout(2, 1, how="median"), "unknown reduction 'median'"),
        (lambda: readouts.population_vector(torch.zeros(5), torch.zeros(2), torch.ones(2)), "does not divide"),
        (lambda: readouts.population_vector(-torch.ones(2), torch.zeros(1), torch.ones(1)), "must not be negative"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
