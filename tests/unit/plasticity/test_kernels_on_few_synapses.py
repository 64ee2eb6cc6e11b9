"""Compiled kernels of plasticity against torch's and against plain loops, on a few neurons."""

import itertools

import pytest
import torch

from synrl_ray.plasticity import numba_kernel, torch_kernel
from synrl_ray.plasticity.factors import Factors

KERNELS = [torch_kernel, numba_kernel]
F64 = torch.float64
MASK = torch.tensor([[False, True], [False, False], [True, False], [False, False], [False, True]])
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=["torch", "numba"])
masks = pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])


def spikes(*shape, seed=0, rate=0.5):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).to(F64)


@every_kernel
@masks
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_traces_by_plain_loops(kernel, mask, nearest, decay):
    trains, trace = spikes(5, 2, 3) * 2, torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 4.0]], dtype=F64)
    found = kernel.trace_scan(trains, trace, decay, nearest, mask)
    for b, n in itertools.product(range(2), range(3)):
        value = float(trace[b, n])
        for t in range(5):
            value = 0.0 if mask is not None and mask[t, b] else value * decay
            spike = float(trains[t, b, n])
            value = spike if nearest and spike else value + spike
            assert float(found[t, b, n]) == pytest.approx(value)
    assert trace.tolist() == [[1.0, 2.0, 0.0], [0.5, 0.0, 4.0]], "what is given is left alone"


@every_kernel
@masks
@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_discounted_sums_by_plain_loops(kernel, mask, decay):
    values = torch.arange(1.0, 11.0, dtype=F64).view(5, 2)
    found = kernel.discounted_sums(values, decay, mask)
    for t, b in itertools.product(range(5), range(2)):
        expected, factor = float(values[t, b]), 1.0
        for later in range(t + 1, 5):
            if mask is not None and mask[later, b]:
                break
            factor *= decay
            expected += factor * float(values[later, b])
        assert float(found[t, b]) == pytest.approx(expected)


def factors(num_pre, num_post, *, steps=4, batch=2):
    g = torch.Generator().manual_seed(7)
    x, y = (torch.rand(steps, batch, n, generator=g, dtype=F64) for n in (num_pre, num_post))
    d, p = (
        spikes(steps, batch, n, seed=n + 10) * (1 + torch.rand(steps, batch, n, generator=g))
        for n in (num_pre, num_post)
    )
    return Factors(x, y, d.to(F64), p.to(F64))


@pytest.mark.parametrize(("num_pre", "num_post"), [(1, 1), (3, 2), (2, 5)])
@pytest.mark.parametrize("scaled", [False, True])
def test_sums_over_pairs_by_plain_loops(num_pre, num_post, scaled):
    f = factors(num_pre, num_post)
    scale = torch.linspace(-1.0, 2.0, 8, dtype=F64).view(4, 2) if scaled else None
    up, down = torch_kernel.pair_sums(f, scale)
    rows_up, rows_down = torch_kernel.pair_sums_per_row(f, torch.ones(4, 2, dtype=F64) if scale is None else scale)
    assert up.shape == down.shape == (num_pre, num_post)
    assert rows_up.shape == rows_down.shape == (2, num_pre, num_post)
    for i, o in itertools.product(range(num_pre), range(num_post)):
        for b in range(2):
            each = [1.0 if scale is None else float(scale[t, b]) for t in range(4)]
            ups = sum(s * float(f.pre_trace[t, b, i] * f.post_gain[t, b, o]) for t, s in enumerate(each))
            downs = sum(s * float(f.pre_gain[t, b, i] * f.post_trace[t, b, o]) for t, s in enumerate(each))
            assert float(rows_up[b, i, o]) == pytest.approx(ups)
            assert float(rows_down[b, i, o]) == pytest.approx(downs)
        assert float(up[i, o]) == pytest.approx(float(rows_up[:, i, o].sum()))
        assert float(down[i, o]) == pytest.approx(float(rows_down[:, i, o].sum()))
