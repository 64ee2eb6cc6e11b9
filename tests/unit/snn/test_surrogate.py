"""Surrogate gradients: derivative against finite differences of the primitive, known values, support, bad input."""

import math

import pytest
import torch

from synrl_ray.snn import LIF, AdaptiveLIF, Recurrent, SpikingMLP, Surrogate, lif_scan, stack

NAMES = ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]
COMPACT = ["triangle", "box"]
WIDE = [name for name in NAMES if name not in COMPACT]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slope", [None, 0.5, 3.0])
def test_derivative_is_that_of_the_primitive(name, slope):
    surrogate = Surrogate(name, slope)
    x = torch.linspace(-2.1, 2.1, 40, dtype=torch.float64)  # contains neither the kink at 0 nor the ends of supports
    h = 1e-6
    differences = (surrogate.primitive(x + h) - surrogate.primitive(x - h)) / (2 * h)
    torch.testing.assert_close(surrogate.derivative(x), differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "slope", "at_zero"),
    [
        ("fast_sigmoid", 25.0, 1.0),
        ("atan", 2.0, 1.0),
        ("sigmoid", 25.0, 6.25),
        ("straight_through", 1.0, 1.0),
        ("triangle", 1.0, 1.0),
        ("box", 2.0, 1.0),
    ],
)
def test_defaults_and_peak(name, slope, at_zero):
    """At 0: 1, k/2, k/4, k, k and k/2."""
    surrogate = Surrogate(name)
    assert surrogate.k == slope
    assert surrogate.derivative(torch.zeros(1)).item() == pytest.approx(at_zero)


def test_derivative_leaves_its_argument_alone():
    x = torch.tensor([0.5, -0.5])
    for name in NAMES:
        Surrogate(name).derivative(x)
    assert x.tolist() == [0.5, -0.5]


def test_bad_input():
    with pytest.raises(ValueError, match=r"unknown surrogate 'relu'.*fast_sigmoid"):
        Surrogate("relu")
    for slope in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="slope must be positive"):
            Surrogate("atan", slope)


@pytest.mark.parametrize("name", NAMES)
def test_curvature_is_the_derivative_of_the_derivative(name):
    surrogate = Surrogate(name, slope=3.0)
    x = torch.linspace(-1.0, 1.0, 38, dtype=torch.float64)  # without 0 and 1/3, where derivatives have a kink
    h = 1e-6
    expected = (surrogate.derivative(x + h) - surrogate.derivative(x - h)) / (2 * h)
    torch.testing.assert_close(surrogate.curvature(x), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("slope", [None, 0.3, 1.0, 4.0])
def test_support(slope):
    for name in WIDE:
        assert Surrogate(name, slope).support is None
    for name in COMPACT:
        surrogate = Surrogate(name, slope)
        assert surrogate.support == 1 / surrogate.k


@pytest.mark.parametrize("name", COMPACT)
@pytest.mark.parametrize("slope", [0.3, 1.0, 3.0])
def test_area_is_one_and_the_primitive_saturates(name, slope):
    surrogate = Surrogate(name, slope)
    x = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    assert torch.trapezoid(surrogate.derivative(x), x).item() == pytest.approx(1, abs=1e-4)
    ends = surrogate.primitive(torch.tensor([-1e300, -1 / slope, 0, 1 / slope, 1e300], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def derivatives_by_each_path(x, surrogate, monkeypatch):
    """The derivative at ``x [N]``, from the gradient by a current that is the membrane, of neurons with threshold 0."""
    zero = x.new_zeros(())

    def gradient(scan):
        given = x.clone().requires_grad_()
        return torch.autograd.grad(scan(given.view(1, 1, -1)).sum(), given)[0]

    def network(currents):
        """One input, neuron and output; the observations are a batch."""
        net = SpikingMLP(1, (1,), 1, steps_per_observation=1, surrogate=surrogate).to(x.dtype)
        with torch.no_grad():
            for linear in (net.linears[0], net.readout.linear):
                linear.weight.fill_(1)
                linear.bias.zero_()
            net.neurons[0].threshold.zero_()
        return net(currents.view(1, -1, 1))[0]

    found = {"derivative": surrogate.derivative(x)}
    for kernel in ("torch", "numba", "functional"):
        options = {"surrogate": surrogate, "kernel": kernel}
        found[f"lif {kernel}"] = gradient(
            lambda i, o=options: lif_scan(i, zero.expand(1, x.numel()), beta=zero, threshold=zero, **o)[0]
        )
        adaptive, lif = AdaptiveLIF(0.0, 1.0, 0.0, 0.0, **options).to(x.dtype), LIF(0.0, 1.0, **options)
        recurrent = Recurrent(lif, x.numel(), "one_to_one").to(x.dtype)
        with torch.no_grad():
            for layer in (adaptive, lif):
                layer.threshold.zero_()
        found[f"adaptive {kernel}"] = gradient(lambda i, layer=adaptive: layer(i)[0])
        found[f"recurrent {kernel}"] = gradient(lambda i, layer=recurrent: layer(i)[0])
    for rows in (0, 10**6):
        monkeypatch.setattr(stack, "SMALL_ROWS", rows)
        found[f"network {rows}"] = gradient(network)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("slope", [1.0, 1.1, 3.0, 49.0])
@pytest.mark.parametrize("name", COMPACT)
def test_all_paths_agree_on_where_the_support_ends(name, slope, dtype, monkeypatch):
    """In doubles 49 * (1 / 49) is less than 1; in floats 1 / 1.1 is another number if 1.1 is rounded beforehand."""
    surrogate = Surrogate(name, slope)
    end = torch.tensor(surrogate.support, dtype=dtype)
    inside, outside = (torch.nextafter(end, torch.tensor(to, dtype=dtype)) for to in (0.0, math.inf))
    x = torch.stack([-outside, -end, -inside, -end / 2, 0 * end, end / 2, inside, end, outside])
    if name == "triangle":
        height = [0, 0, None, slope / 2, slope, slope / 2, None, 0, 0]
    else:
        height = [0, 0, *[slope / 2] * 5, 0, 0]
    for path, found in derivatives_by_each_path(x, surrogate, monkeypatch).items():
        for value, expected in zip(found.tolist(), height, strict=True):
            if expected is None:
                assert abs(value) < 1e-5 * slope, path
            elif expected == 0:
                assert value == 0, path
            else:
                assert value == pytest.approx(expected, rel=1e-6), path
