"""What must hold for every encoded input: binary spikes, bounded rates, the same seed the same spikes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.snn import encoders, readouts

few = settings(max_examples=30, deadline=None)
seeds, steps = st.integers(0, 2**16), st.integers(1, 12)


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@few
@given(seeds, steps)
def test_spike_trains_are_binary_and_seeded(seed, num_steps):
    rates = draw(seed, 3, 4)
    for encode in (lambda: encoders.rate(rates, num_steps, torch.Generator().manual_seed(seed)),
                   lambda: encoders.latency(rates, num_steps)):  # fmt: skip
        first, second = encode(), encode()
        assert first.shape == (num_steps, 3, 4)
        assert ((first == 0) | (first == 1)).all()
        assert torch.equal(first, second)


@few
@given(seeds, steps)
def test_latency_spikes_at_most_once(seed, num_steps):
    assert (encoders.latency(draw(seed, 50).round(decimals=1), num_steps).sum(0) <= 1).all()


@few
@given(seeds, st.integers(2, 9), st.floats(0.3, 3))
def test_population_rates_are_bounded_and_peak_at_the_nearest_centre(seed, num_neurons, width):
    low, high = torch.tensor([-2.0]), torch.tensor([3.0])
    value = low + draw(seed, 5, 1) * (high - low)
    code = encoders.population(value, low, high, num_neurons, width)
    centres = torch.linspace(-2, 3, num_neurons)
    assert ((code >= 0) & (code <= 1)).all()
    nearest = (value - centres).abs()
    peak = nearest.gather(1, code.argmax(1, keepdim=True))
    assert torch.allclose(peak, nearest.min(1, keepdim=True).values, atol=1e-5)


@few
@given(seeds, st.integers(2, 9))
def test_decoded_actions_stay_in_range(seed, num_neurons):
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 5.0])
    action = readouts.population_vector(draw(seed, 6, 2 * num_neurons).round(), low, high)
    assert (action >= low - 1e-6).all()
    assert (action <= high + 1e-6).all()


@few
@given(seeds, st.floats(0.05, 1))
def test_delta_never_rises_and_falls_at_once(seed, threshold):
    rises, falls = encoders.delta(draw(seed, 10, 2, 3), threshold).chunk(2, dim=-1)
    assert (rises * falls == 0).all()
    assert (rises[0] == 0).all()
