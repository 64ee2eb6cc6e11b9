"""Traces equal their closed form, kernels agree, resets and split fragments are exact."""

import math

import pytest
import torch

from synrl_ray.plasticity.traces import spike_traces

KERNELS = ["torch", "numba"]


def make(steps=40, batch=3, neurons=5, seed=0, rate=0.2):
    g = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(steps, batch, neurons, generator=g) < rate).double()
    return spikes, torch.rand(batch, neurons, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dt", [0.5, 1.0])
def test_all_to_all_closed_form(kernel, dt):
    """x_t = lambda^(t+1) x + sum over spikes f of lambda^(t-f), computed by times rather than by recursion."""
    spikes, start = make()
    traces = spike_traces(spikes, start, tau=15.0, dt=dt, kernel=kernel)
    times = torch.arange(40.0, dtype=torch.float64) * dt
    ages = times.unsqueeze(1) - times
    weights = torch.exp(-ages / 15.0) * (ages >= 0)
    expected = torch.tensordot(weights, spikes, 1) + torch.exp(-(times + dt) / 15.0).view(-1, 1, 1) * start
    torch.testing.assert_close(traces, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nearest_closed_form(kernel):
    spikes, start = make()
    traces = spike_traces(spikes, start, tau=15.0, pairing="nearest", kernel=kernel)
    for b in range(3):
        for n in range(5):
            for t in range(40):
                fired = [f for f in range(t + 1) if spikes[f, b, n]]
                since = t - fired[-1] if fired else t + 1
                expected = math.exp(-since / 15.0) * (1.0 if fired else start[b, n].item())
                assert traces[t, b, n].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pairing", ["all_to_all", "nearest"])
def test_float32_within_1e_6_of_float64(pairing):
    spikes, start = make(rate=0.05)
    double = spike_traces(spikes, start, tau=20.0, pairing=pairing, kernel="torch")
    for kernel in KERNELS:
        single = spike_traces(spikes, start.float(), tau=20.0, pairing=pairing, kernel=kernel)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double() / 4, double / 4, rtol=0, atol=1e-6)  # of traces up to 4


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pairing", ["all_to_all", "nearest"])
def test_a_reset_starts_from_zero(kernel, pairing):
    spikes, start = make()
    mask = torch.zeros(40, 3, dtype=torch.bool)
    mask[0, 1] = mask[17, 0] = True
    options = {"tau": 15.0, "pairing": pairing, "kernel": kernel}
    traces = spike_traces(spikes, start, reset_mask=mask, **options)
    rest = torch.zeros(1, 5, dtype=torch.float64)
    for begin, end, row, before in [(0, 17, 0, start[:1]), (17, 40, 0, rest), (0, 40, 1, rest), (0, 40, 2, start[2:])]:
        alone = spike_traces(spikes[begin:end, row : row + 1], before, **options)
        assert torch.equal(traces[begin:end, row : row + 1], alone)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_split_fragment_carries_its_trace(kernel):
    spikes, start = make()
    whole = spike_traces(spikes, start, tau=15.0, kernel=kernel)
    first = spike_traces(spikes[:13], start, tau=15.0, kernel=kernel)
    second = spike_traces(spikes[13:], first[-1], tau=15.0, kernel=kernel)
    assert torch.equal(whole, torch.cat((first, second)))


def test_bad_input():
    spikes, start = make()
    with pytest.raises(ValueError, match=r"tau must be > 0 ms and finite, got -1"):
        spike_traces(spikes, start, tau=-1.0)
    with pytest.raises(ValueError, match=r"tau must be > 0 ms and finite, got 0"):
        spike_traces(spikes, start, tau=0.0)
    with pytest.raises(ValueError, match=r"dt must be > 0 ms and finite, got nan"):
        spike_traces(spikes, start, tau=1.0, dt=math.nan)
    with pytest.raises(ValueError, match="pairing must be all_to_all or nearest, got 'first'"):
        spike_traces(spikes, start, tau=1.0, pairing="first")
    with pytest.raises(ValueError, match=r"spikes must be \[T, B, N\]"):
        spike_traces(spikes, start[:2], tau=1.0)
    with pytest.raises(ValueError, match=r"reset_mask must be bool \[T, B\] = \(40, 3\), got torch.bool \(39, 3\)"):
        spike_traces(spikes, start, tau=1.0, reset_mask=torch.zeros(39, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \[T, B\] = \(40, 3\), got torch.uint8 \(40, 3\)"):
        spike_traces(spikes, start, tau=1.0, reset_mask=torch.zeros(40, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"float32 or float64 on CPU, got torch\.float16"):
        spike_traces(spikes, start.half(), tau=1.0, kernel="numba")
