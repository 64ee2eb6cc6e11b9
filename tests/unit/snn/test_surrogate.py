"""Surrogate gradients: derivative against finite differences of the primitive, known values, bad input."""

import pytest
import torch

from synrl_ray.snn import Surrogate

NAMES = ["fast_sigmoid", "atan", "sigmoid", "straight_through"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slope", [None, 0.5, 3.0])
def test_derivative_is_that_of_the_primitive(name, slope):
    surrogate = Surrogate(name, slope)
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)  # does not contain the kink at 0
    h = 1e-6
    differences = (surrogate.primitive(x + h) - surrogate.primitive(x - h)) / (2 * h)
    torch.testing.assert_close(surrogate.derivative(x), differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "slope", "at_zero"),
    [("fast_sigmoid", 25.0, 1.0), ("atan", 2.0, 1.0), ("sigmoid", 25.0, 6.25), ("straight_through", 1.0, 1.0)],
)
def test_defaults_and_peak(name, slope, at_zero):
    """At 0: 1, k/2, k/4 and k."""
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
    x = torch.linspace(-1.0, 1.0, 40, dtype=torch.float64)  # without 0, where fast_sigmoid has a kink
    h = 1e-6
    expected = (surrogate.derivative(x + h) - surrogate.derivative(x - h)) / (2 * h)
    torch.testing.assert_close(surrogate.curvature(x), expected, rtol=1e-6, atol=1e-8)
