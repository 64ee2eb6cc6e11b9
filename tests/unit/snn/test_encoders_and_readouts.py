"""Encoders and readouts: worked numbers, seeds, statistics, bad input."""

import math

import pytest
import torch

from synrl_ray.snn import LeakyReadout, SpikingMLP, Surrogate
from synrl_ray.snn.encoders import DeltaCode, LatencyCode, PopulationCode, rate
from synrl_ray.snn.readouts import MembraneReadout, make_readout


def test_rates_are_seeded_and_as_asked():
    rates = torch.tensor([0.0, 0.3, 0.5, 1.0]).expand(50, 4)
    first, second = (rate(rates, 200, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, rate(rates, 200, torch.Generator().manual_seed(8)))
    standard_error = math.sqrt(0.25 / (200 * 50))
    assert (first.mean((0, 1)) - rates[0]).abs().max() < 5 * standard_error
    assert set(first.unique().tolist()) == {0.0, 1.0}


def test_latencies_by_hand():
    """Of five steps over [-1, 1]: 1 and beyond fire at once, 0 in the middle, -0.9 last, -1 and below never."""
    spikes = LatencyCode(-1.0, 1.0, 5)(torch.tensor([[[3.0, 1.0, 0.0, -0.9, -1.0, -3.0]]])).squeeze(1)
    assert spikes.sum(0).tolist() == [1, 1, 1, 1, 0, 0]
    assert spikes[:, :4].argmax(0).tolist() == [0, 0, 2, 4]


def test_population_code_by_hand():
    """Three neurons at 0, 1, 2 with sigma 1: exp(-d^2 / 2)."""
    code = PopulationCode(0.0, 2.0, 3)(torch.tensor([[0.5, 2.0]]))
    expected = [math.exp(-(d**2) / 2) for d in (0.5, 0.5, 1.5, 2.0, 1.0, 0.0)]
    assert code.flatten().tolist() == pytest.approx(expected)


def test_changes_and_their_memory():
    """An episode's first observation is compared with zero, others with what has been told, across calls too."""
    signal = torch.tensor([0.2, 0.2, 1.0, 0.75, 0.375]).view(5, 1, 1)
    code = DeltaCode(1, 0.25)
    whole, told = code(signal)
    assert whole[:, 0].tolist() == [[0, 0], [0, 0], [4, 0], [0, 1], [0, 1]]
    assert told.tolist() == [[0.5]]
    first, state = code(signal[:2])
    assert torch.equal(torch.cat((first, code(signal[2:], state)[0])), whole)
    starts = torch.tensor([False, False, False, False, True]).view(5, 1)
    assert code(signal, torch.ones(1, 1), starts)[0][:, 0].tolist() == [[0, 3], [0, 0], [3, 0], [0, 1], [1, 0]]


def test_numbers_on_a_grid_cross_in_spite_of_rounding():
    """Steps of a tenth with a threshold of a tenth: every one is told of, in single precision too."""
    walk = torch.randint(-1, 2, (2_000, 1, 3), generator=torch.Generator().manual_seed(0)).cumsum(0)
    for dtype in (torch.float32, torch.float64):
        spikes, told = DeltaCode(3, 0.1)((walk / 10).to(dtype))
        rises, falls = spikes.chunk(2, dim=-1)
        assert torch.equal((rises - falls).cumsum(0).long(), walk)
        torch.testing.assert_close(told, (walk[-1] / 10).to(dtype), rtol=0, atol=1e-3)


def test_a_number_that_creeps_is_told_of_in_time():
    spikes, told = DeltaCode(1, 0.5)(torch.linspace(0, 2, 33).view(33, 1, 1))
    assert spikes[:, 0, 0].nonzero().flatten().tolist() == [8, 16, 24, 32], "a sixteenth at a time"
    assert told.item() == 2.0


@pytest.mark.parametrize("how", ["max", "mean"])
def test_membrane_readouts_by_hand(how):
    readout = MembraneReadout(1, 1, how, beta=0.5, hold=2)
    torch.nn.init.ones_(readout.linear.weight)
    torch.nn.init.zeros_(readout.linear.bias)
    spikes = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(4, 1, 1)  # membranes 1, 0.5; then 0.25, 1.125, from rest 0, 1
    expected = {"max": ([1.0, 1.125], [1.0, 1.0]), "mean": ([0.75, 0.6875], [0.75, 0.5])}[how]
    outputs, membrane = readout(spikes, torch.zeros(1, 1))
    assert outputs.flatten().tolist() == expected[0]
    assert membrane.item() == 1.125
    outputs, membrane = readout(spikes, torch.full((1, 1), 7.0), torch.tensor([[True], [True]]))
    assert outputs.flatten().tolist() == expected[1]
    assert membrane.item() == 1.0


def test_the_last_membrane_is_the_fused_readout():
    """Its membranes are those that the others reduce."""
    torch.manual_seed(0)
    slow, fast = MembraneReadout(5, 2, "max", hold=3), make_readout("last", 5, 2, beta=0.9, hold=3, kernel="auto")
    assert type(fast) is LeakyReadout
    fast.linear.load_state_dict(slow.linear.state_dict())
    spikes, before = (torch.rand(12, 4, 5) < 0.3).float(), torch.randn(4, 2)
    mask = torch.rand(4, 4) < 0.3
    outputs, membrane = fast(spikes, before, mask)
    torch.testing.assert_close(slow(spikes, before, mask)[1], outputs[-1], rtol=0, atol=1e-6)
    assert torch.equal(membrane, outputs[-1])
    assert (slow(spikes, before, mask)[0] >= outputs - 1e-6).all()


def test_a_network_on_latencies_is_one_that_receives_their_spikes_step_by_step():
    torch.manual_seed(0)
    options = {"threshold": 0.3, "gain": 2.0, "surrogate": Surrogate("atan")}
    coded = SpikingMLP(3, (8, 6), 2, steps_per_observation=4, latency=(-1.0, 1.0), **options)
    plain = SpikingMLP(3, (8, 6), 2, steps_per_observation=1, **options)
    plain.load_state_dict(coded.state_dict(), strict=False)
    inputs, mask = torch.rand(5, 2, 3) * 2 - 1, torch.rand(5, 2) < 0.3
    _, _, spikes = coded.forward_with_spikes(inputs, None, mask)
    inner = torch.zeros(5, 4, 2, dtype=torch.bool)
    inner[:, 0] = mask
    _, _, expected = plain.forward_with_spikes(LatencyCode(-1.0, 1.0, 4)(inputs), None, inner.flatten(0, 1))
    assert all(layer.sum() > 0 for layer in spikes)
    for a, b in zip(spikes, expected, strict=True):
        assert torch.equal(a, b)
    (layer, received), *_ = coded.layer_inputs(inputs)
    assert layer is coded.linears[0]
    assert received.shape == (20, 2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate(torch.zeros(2), 0), "num_steps must be at least 1, got 0"),
        (lambda: rate(torch.tensor([0.2, 1.5]), 2), r"rates must lie in \[0, 1\], got 0.2 to 1.5"),
        (lambda: rate(torch.tensor([math.inf]), 2), "input must be finite"),
        (lambda: LatencyCode(1.0, 1.0, 4), "latencies need a range, got 1.0 to 1.0"),
        (lambda: PopulationCode(0.0, 1.0, 1), "1 receptive fields from 0.0 to 1.0 are not a population"),
        (lambda: PopulationCode(1.0, 1.0, 4), "are not a population"),
        (lambda: PopulationCode(0.0, 1.0, 4, 0.0), "width must be positive"),
        (lambda: DeltaCode(1, 0.0), "threshold must be positive"),
        (lambda: SpikingMLP(2, (4,), 1, readout="median"), "unknown readout 'median': choose one of last, max, mean"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
