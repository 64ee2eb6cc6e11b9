"""Products of spikes with weights: lists against dense spikes against torch's layers and their derivatives."""

import numpy as np
import pytest
import torch
from torch import nn

from synrl_ray.snn import products
from synrl_ray.snn.products import ConvolutionProduct, LinearProduct, Near, by_columns, most_fired
from synrl_ray.snn.spike_lists import SpikeLists

ROWS = 70  # more than the 64 that share a weight
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}
DTYPES = list(TOLERANCE)


def convolution(channels, height, width, outputs, kernel, stride):
    behind = outputs, (height - kernel) // stride + 1, (width - kernel) // stride + 1
    return ConvolutionProduct((channels, height, width), behind, kernel, stride)


PRODUCTS = {
    "fully connected": LinearProduct(130, 16),
    "many outputs": LinearProduct(130, 7 * 16),
    "as many as have sums of their own": LinearProduct(128, 64),
    "one input": LinearProduct(1, 16),
    "behind a map": LinearProduct(6 * 7, 32, 6),
    "behind a map of one channel": LinearProduct(6, 16, 6),
    "convolution": convolution(3, 7, 5, 16, 3, 1),
    "stride": convolution(3, 9, 6, 32, 4, 2),
    "stride beyond the kernel": convolution(2, 9, 8, 16, 2, 3),
    "as large as the map": convolution(5, 4, 4, 48, 4, 1),
    "as high as the map": convolution(2, 3, 8, 16, 3, 2),
    "one pixel": convolution(65, 1, 1, 16, 1, 1),
    "points": convolution(1, 5, 4, 16, 1, 1),
    "many channels": convolution(70, 3, 4, 80, 2, 1),
}
LAYOUTS = {
    "rows": lambda weight: weight,
    "columns": lambda weight: weight.transpose(0, 1).contiguous().transpose(0, 1),
    "strided": lambda weight: weight.repeat_interleave(2, 1)[:, ::2],
}


def layer_of(product, signal, weight):
    """What torch makes of spikes ``[R, P * C]``, with maps as ``[P, C]``."""
    rows, pixels = len(signal), product.num_pixels
    maps = signal.view(rows, pixels, -1).transpose(1, 2)
    if isinstance(product, LinearProduct):
        return maps.reshape(rows, -1) @ weight.t()
    behind = nn.functional.conv2d(maps.reshape(rows, *product.in_shape), weight, stride=product.stride)
    return behind.flatten(2).transpose(1, 2).flatten(1)


def drawn(product, dtype, activity=0.2, rows=ROWS):
    """Membranes, of which a share is above its neuron's threshold, these, their spikes and weights."""
    generator = torch.Generator().manual_seed(0)
    num_inputs = (
        product.num_pixels * product.weight_shape[1] if isinstance(product, ConvolutionProduct) else product.num_inputs
    )
    membranes = torch.rand(rows, num_inputs, generator=generator, dtype=torch.float64)
    threshold = torch.full((num_inputs,), 1 - activity, dtype=torch.float64)
    weight = torch.randn(product.weight_shape, generator=generator, dtype=torch.float64)
    spikes = membranes > threshold
    return membranes.to(dtype), threshold.to(dtype), spikes.to(dtype), weight.to(dtype)


def assert_close(found, expected):
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_currents_and_gradients(name, dtype):
    product = PRODUCTS[name]
    membranes, threshold, spikes, weight = drawn(product, dtype)
    lists = SpikeLists.of(spikes, product.num_pixels)
    signal, learned = spikes.clone().requires_grad_(), weight.clone().requires_grad_()
    expected = layer_of(product, signal, learned)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    by_signal, by_weight = torch.autograd.grad(expected, (signal, learned), grad)

    for given in (spikes, lists):
        assert_close(product.forward(given, weight), expected.detach())
        assert_close(product.weight_gradient(grad, given, weight), by_weight)
    assert_close(product.input_gradient(grad, weight), by_signal)

    near = (membranes - threshold).abs() < 0.1
    assert 0.1 < near.double().mean() < 0.5
    found = product.near_gradient(grad, weight, Near(membranes, threshold, 0.1))
    assert_close(found, by_signal * near)
    assert not found[~near].any(), "zero, however small the others are"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["fully connected", "behind a map", "stride"])
def test_layouts_of_weights(name, layout):
    product = PRODUCTS[name]
    membranes, threshold, spikes, weight = drawn(product, torch.float64)
    laid_out, near = LAYOUTS[layout](weight), Near(membranes, threshold, 0.1)
    assert torch.equal(laid_out, weight)
    for given in (spikes, SpikeLists.of(spikes, product.num_pixels)):
        currents = product.forward(given, weight)
        assert_close(product.forward(given, laid_out), currents)
        assert_close(
            product.weight_gradient(currents, given, laid_out), product.weight_gradient(currents, given, weight)
        )
    assert_close(product.input_gradient(currents, laid_out), product.input_gradient(currents, weight))
    assert_close(product.near_gradient(currents, laid_out, near), product.near_gradient(currents, weight, near))


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 128, 129])
@pytest.mark.parametrize("name", ["fully connected", "stride"])
def test_rows_by_sixty_four(name, rows):
    product = PRODUCTS[name]
    membranes, threshold, spikes, weight = drawn(product, torch.float64, rows=rows)
    grad = torch.randn(layer_of(product, spikes, weight).shape, dtype=torch.float64)
    for width in (0.0, 0.02, 2.0):  # none, few, all of them
        near = (membranes - threshold).abs() < width
        found = product.near_gradient(grad, weight, Near(membranes, threshold, width))
        assert_close(found, product.input_gradient(grad, weight) * near)


@pytest.mark.parametrize("activity", [0.0, 1.0])
@pytest.mark.parametrize("name", ["fully connected", "behind a map", "stride"])
def test_silence_and_all_at_once(name, activity):
    product = PRODUCTS[name]
    _, _, spikes, weight = drawn(product, torch.float64, activity)
    lists = SpikeLists.of(spikes, product.num_pixels)
    assert lists.activity == activity
    currents = product.forward(lists, weight)
    assert_close(currents, layer_of(product, spikes, weight))
    assert_close(product.weight_gradient(currents, lists, weight), product.weight_gradient(currents, spikes, weight))
    assert bool(currents.any()) == bool(activity)


def test_currents_go_where_they_should():
    product, (_, _, spikes, weight) = PRODUCTS["fully connected"], drawn(PRODUCTS["fully connected"], torch.float32)
    for given in (spikes, SpikeLists.of(spikes)):
        out = torch.empty(ROWS, 16)
        assert product.forward(given, weight, out=out) is out
        assert_close(out, spikes @ weight.t())


def test_a_convolution_by_hand():
    """One spike in the middle of 3 x 3 pixels: every output sees it by another weight of its kernel of 2 x 2."""
    product, lists = convolution(1, 3, 3, 16, 2, 1), SpikeLists.of(torch.eye(9)[4:5], 9)
    weight = torch.arange(4.0).view(1, 1, 2, 2).expand(16, 1, 2, 2)
    assert product.forward(lists, weight).view(4, 16)[:, 0].tolist() == [3, 2, 1, 0]
    grad = torch.zeros(1, 4, 16)
    grad[0, :, 5] = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    found = product.weight_gradient(grad.view(1, -1), lists, weight)
    assert found[5, 0].flatten().tolist() == [1000, 100, 10, 1]
    assert found[:5].count_nonzero() == 0
    near = product.near_gradient(grad.view(1, -1), weight, Near(torch.zeros(1, 9), torch.ones(9), 2.0))
    assert near[0, 4].item() == 3 * 1 + 2 * 10 + 1 * 100


def test_which_pixel_is_seen_by_which_output():
    """Kernel 2, stride 3 on 2 x 5 pixels: two outputs, the column between them is seen by none."""
    pairs, outputs, weights = products._seen_by((1, 2, 5), (16, 1, 2), 2, 3)
    assert np.diff(pairs).tolist() == [1, 1, 0, 1, 1] * 2
    assert outputs.tolist() == [0, 0, 16, 16] * 2
    assert weights.tolist() == [0, 16, 0, 16, 32, 48, 32, 48]


@pytest.mark.parametrize(
    ("product", "dtype", "takes"),
    [
        (LinearProduct(128, 16), torch.float32, True),
        (LinearProduct(127, 16), torch.float32, False),
        (LinearProduct(128, 8), torch.float32, False),
        (LinearProduct(128, 8), torch.float64, True),
        (LinearProduct(128, 17), torch.float64, False),
        (convolution(1, 3, 3, 16, 2, 1), torch.float32, True),
        (convolution(1, 3, 3, 24, 2, 1), torch.float32, False),
        (convolution(1, 3, 3, 24, 2, 1), torch.float64, True),
    ],
)
def test_shapes_that_there_are_kernels_for(product, dtype, takes):
    assert product.takes_lists(dtype) is takes


@pytest.mark.parametrize(
    ("settings", "is_of"),
    [
        ({"stride": 2}, True),
        ({"stride": 1}, False),
        ({"stride": (2, 1)}, False),
        ({"stride": 2, "padding": 1}, False),
        ({"stride": 2, "padding": "valid"}, False),
        ({"stride": 2, "dilation": 2}, False),
        ({"stride": 2, "groups": 2}, False),
    ],
)
def test_convolutions_that_it_computes(settings, is_of):
    assert convolution(4, 9, 9, 16, 3, 2).is_of(nn.Conv2d(4, 16, 3, **settings)) is is_of


def test_few_are_near_by_a_sample_of_the_rows_and_by_threads(monkeypatch):
    """Every fourth row tells: of these all, of the others none."""
    membranes = torch.zeros(9, 10)
    membranes[::4, :2] = 1.0
    near = Near(membranes, torch.tensor(1.0), 0.5)
    assert near.threshold.tolist() == [1.0] * 10
    assert near.is_rare(), "a fifth"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not near.is_rare()
    assert most_fired() == products.MOST_FIRED / 2
    monkeypatch.undo()
    membranes[::4, 2] = 1.0
    assert not near.is_rare()


def test_wide_weights_are_laid_out_by_columns():
    small, wide = nn.Linear(128, 128), nn.Linear(129, 3)
    before = wide.weight.detach().clone()
    for layer in (small, wide):
        by_columns(layer)
    assert small.weight.is_contiguous()
    assert wide.weight.t().is_contiguous()
    assert torch.equal(wide.weight, before)
