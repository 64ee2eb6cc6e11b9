"""Lists of spikes against dense ones: every shape, cut anywhere, and what is no spike."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.snn.event_kernels import list_fired, spread
from synrl_ray.snn.spike_lists import SpikeLists

INF, NAN = float("inf"), float("nan")


def random_spikes(rows, pixels, channels, activity, seed=0):
    return (torch.rand(rows, pixels * channels, generator=torch.Generator().manual_seed(seed)) < activity).float()


def assert_lists(lists, spikes):
    """Every row's neurons in their order, and how many fired up to the end of each pixel."""
    pixels = lists.ends.shape[1] - 1
    counts = spikes.long().view(len(spikes), pixels, -1).sum(2).cumsum(1)
    assert lists.ends[:, 0].eq(0).all()
    assert torch.equal(lists.ends[:, 1:].long(), counts)
    for listed, end, row in zip(lists.index, lists.ends[:, -1], spikes, strict=True):
        assert listed[:end].tolist() == row.nonzero().flatten().tolist()


def test_lists_by_hand():
    """Two pixels of three channels."""
    lists = SpikeLists.of(torch.tensor([[0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]), num_pixels=2)
    assert lists.ends.tolist() == [[0, 1, 3], [0, 0, 0], [0, 3, 3]]
    assert lists.index[0, :3].tolist() == [2, 3, 5]
    assert lists.index[2, :3].tolist() == [0, 1, 2]
    assert lists.activity == 6 / 18
    assert lists.dense(torch.full((3, 6), NAN)).tolist() == [[0, 0, 1, 1, 0, 1], [0] * 6, [1, 1, 1, 0, 0, 0]]
    assert lists.dense(torch.full((1, 6), NAN)).tolist() == [[0, 0, 1, 1, 0, 1]], "as many rows as there is room for"


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.sampled_from([1, 2, 63, 64, 65, 130]))
ACTIVITIES = st.sampled_from([0.0, 0.03, 0.5, 1.0])


@settings(max_examples=80, deadline=None)
@given(SHAPES, ACTIVITIES, st.integers(0, 99))
def test_lists_hold_what_dense_spikes_say(shape, activity, seed):
    spikes = random_spikes(*shape, activity, seed)
    lists = SpikeLists.of(spikes, shape[1])
    assert_lists(lists, spikes)
    assert lists.activity == pytest.approx(float(spikes.mean()))
    assert torch.equal(lists.dense(torch.full_like(spikes, NAN)), spikes)


@settings(max_examples=80, deadline=None)
@given(SHAPES, ACTIVITIES, st.lists(st.floats(0, 1), max_size=4), st.sampled_from([torch.float32, torch.float64]))
def test_parts_that_end_anywhere_make_the_same_lists(shape, activity, cuts, dtype):
    """In mid-pixel, in mid-row and across rows, as blocks of cells do."""
    spikes = random_spikes(*shape, activity).to(dtype)
    num_neurons, flat = spikes.shape[1], spikes.reshape(-1).numpy()
    lists = SpikeLists.empty(*spikes.shape, shape[1])
    lists.index.fill_(2**30)
    lists.ends.fill_(2**30)
    edges = sorted({0, flat.size, *(round(cut * flat.size) for cut in cuts)})
    fired = [
        list_fired(flat[a:b], np.zeros_like(flat[a:b]), a, num_neurons, lists.index.numpy(), lists.ends.numpy())
        for a, b in pairwise(edges)
    ]
    assert fired == [flat[a:b].sum() for a, b in pairwise(edges)]
    assert_lists(lists, spikes)


@pytest.mark.parametrize("listed", [1, 64, 65, 130, 131, 200, 260])
def test_lists_of_a_part_spread_into_that_part_alone(listed):
    """Of two rows of 130 neurons, ten pixels each."""
    spikes = random_spikes(2, 10, 13, 0.4)
    lists, flat, out = SpikeLists.empty(2, 130, 10), spikes.reshape(-1).numpy(), np.full(260, 7, np.float32)
    list_fired(flat[:listed], np.zeros_like(flat[:listed]), 0, 130, lists.index.numpy(), lists.ends.numpy())
    spread(lists.index.numpy(), lists.ends.numpy(), 0, listed, out)
    assert out.tolist() == [*flat[:listed].tolist(), *[7] * (260 - listed)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [4, 70])
def test_what_is_not_above_its_threshold_is_no_spike(size, dtype):
    """NaN is not, nor is anything above NaN or infinity; within whole words and in what is left of them."""
    u = np.array([NAN, INF, -INF, 1.0, 2.0, 2.0, INF, 0.0] * 9, dtype)[:size]
    theta = np.array([1.0, 1.0, 1.0, 1.0, 1.0, NAN, INF, -0.0] * 9, dtype)[:size]
    lists = SpikeLists.empty(1, size)
    assert list_fired(u, theta, 0, size, lists.index.numpy(), lists.ends.numpy()) == (u > theta).sum()
    assert lists.index[0, : lists.ends[0, 1]].tolist() == np.nonzero(u > theta)[0].tolist()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_spikes_of_any_type_and_layout(dtype):
    spikes = random_spikes(3, 1, 70, 0.3)
    assert_lists(SpikeLists.of(spikes.to(dtype).t().contiguous().t()), spikes)


def test_small_and_negative_numbers():
    """Whatever is above zero is a spike, were it too small for single precision."""
    spikes = torch.tensor([[1e-300, -1.0, 0.0, 7.0]], dtype=torch.float64, requires_grad=True)
    assert SpikeLists.of(spikes).index[0, :2].tolist() == [0, 3]


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_nothing_makes_empty_lists(shape):
    lists = SpikeLists.of(torch.zeros(shape))
    assert lists.ends.tolist() == [[0, 0]] * shape[0]
    assert lists.activity == 0


def test_lists_are_not_spread_into_what_is_not_contiguous():
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        SpikeLists.of(torch.ones(3, 4)).dense(torch.zeros(4, 3).t())
