"""What must hold for every encoded input: binary spikes, bounded rates, the same seed the same spikes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.snn.encoders import DeltaCode, LatencyCode, PopulationCode, rate

few = settings(max_examples=30, deadline=None)
seeds, steps = st.integers(0, 2**16), st.integers(1, 12)


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@few
@given(seeds, steps)
def test_spike_trains_are_binary_and_the_same_again(seed, num_steps):
    rates = draw(seed, 3, 4)
    for encode in (lambda: rate(rates, num_steps, torch.Generator().manual_seed(seed)),
                   lambda: LatencyCode(0.0, 1.0, num_steps)(rates.unsqueeze(0))):  # fmt: skip
        first, second = encode(), encode()
        assert first.shape == (num_steps, 3, 4)
        assert ((first == 0) | (first == 1)).all()
        assert torch.equal(first, second)


@few
@given(seeds, steps)
def test_latency_spikes_at_most_once_and_in_order(seed, num_steps):
    values = draw(seed, 1, 1, 50)
    spikes = LatencyCode(0.0, 1.0, num_steps)(values)[:, 0]
    assert (spikes.sum(0) <= 1).all()
    fires = spikes.sum(0) == 1
    assert torch.equal(fires, values[0, 0] > 0)
    when = spikes.argmax(0)[fires]
    assert (when[values[0, 0][fires].argsort(descending=True)].diff() >= 0).all()


@few
@given(seeds, st.integers(2, 9), st.floats(0.3, 3))
def test_population_currents_are_bounded_and_peak_at_the_nearest_centre(seed, num_neurons, width):
    value = draw(seed, 5, 1) * 5 - 2
    code = PopulationCode(-2.0, 3.0, num_neurons, width)(value)
    centres = torch.linspace(-2, 3, num_neurons)
    assert ((code >= 0) & (code <= 1)).all()
    nearest = (value - centres).abs()
    peak = nearest.gather(1, code.argmax(1, keepdim=True))
    assert torch.allclose(peak, nearest.min(1, keepdim=True).values, atol=1e-5)


@few
@given(seeds, st.floats(0.05, 1))
def test_a_feature_never_rises_and_falls_at_once(seed, threshold):
    spikes, told = DeltaCode(3, threshold)(signal := draw(seed, 10, 2, 3))
    rises, falls = spikes.chunk(2, dim=-1)
    assert (rises * falls == 0).all()
    tracked = threshold * (rises - falls).cumsum(0)
    assert ((signal - tracked).abs() < threshold + 1e-4).all(), "what is told stays within a threshold"
    torch.testing.assert_close(tracked[-1], told)
