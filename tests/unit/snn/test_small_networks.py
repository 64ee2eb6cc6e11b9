"""Neurons, codes and networks so small that every number is known; defaults, and where each setting is refused."""

import math
from typing import get_args

import pytest
import torch

from synrl_ray.snn import LIF, MLP, SpikingMLP, Surrogate, SurrogateName, networks
from synrl_ray.snn.encoders import DeltaCode, LatencyCode, PopulationCode, rate
from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.networks import held, scale_weights
from synrl_ray.snn.neurons import LeakyReadout, integrated


def one_neuron(weight=1.0, bias=0.0, out_weight=1.0, out_bias=0.0, **settings):
    """A chain of one neuron, its weights as given."""
    net = SpikingMLP(1, (1,), 1, **{"beta": 0.5, "readout_beta": 0.5, **settings})
    with torch.no_grad():
        net.linears[0].weight.fill_(weight)
        net.linears[0].bias.fill_(bias)
        net.readout.linear.weight.fill_(out_weight)
        net.readout.linear.bias.fill_(out_bias)
    return net


@pytest.mark.parametrize("by_layers", [False, True])
def test_two_observations_of_a_network_by_hand(by_layers):
    """Membranes 0.8, 1.2 (a spike; 1 is taken off at the next step), 0.4, 1.0 (no spike: it must exceed the threshold).
    The readout halves, adds twice each spike and 0.25: 0.25, 0.125 + 2.25, 1.1875 + 0.25, 0.71875 + 0.25."""
    net = one_neuron(0.8, 0.0, 2.0, 0.25, steps_per_observation=2)
    inputs = torch.tensor([[[1.0]], [[1.0]]])
    outputs, state = net.forward_with_spikes(inputs)[:2] if by_layers else net(inputs)
    assert outputs.flatten().tolist() == pytest.approx([2.375, 0.96875])
    assert state.tolist() == [pytest.approx([1.0, 0.96875])]
    *_, (spikes,) = net.forward_with_spikes(inputs)
    assert spikes.flatten().tolist() == [0, 1, 0, 0]


def test_by_default_there_are_four_steps_of_neurons_that_keep_nine_tenths():
    net = SpikingMLP(2, (3,), 1)
    assert net.steps_per_observation == 4
    assert float(net.neurons[0].beta) == pytest.approx(0.9)
    assert float(net.neurons[0].threshold) == 1
    assert (net.neurons[0].hold, net.neurons[0].reset, net.neurons[0].graded) == (4, "subtract", False)
    assert net.readout.beta == 0.9
    assert net.readout.weights.tolist() == pytest.approx([0.9**3, 0.9**2, 0.9, 1])
    assert net.readout.bias_gain == pytest.approx(0.9**3 + 0.9**2 + 0.9 + 1)
    assert float(net.readout.integrator.beta) == pytest.approx(0.9**4)
    assert (net.state_sizes, net.state_size) == ([3, 1], 4)
    assert [neuron.hold for neuron in SpikingMLP(2, (3, 3), 1).neurons] == [4, 1], "only the first holds its current"
    assert not list(net.neurons[0].parameters())
    assert LeakyReadout(2, 1).weights.tolist() == [1]
    assert float(LIF().beta) == pytest.approx(0.9)
    assert float(LIF().threshold) == 1


@pytest.mark.parametrize(("gain", "hidden_gain"), [(3.0, 0.5), (1.0, 1.0)])
def test_gains_scale_the_first_layer_and_those_behind_it(gain, hidden_gain):
    def weights(**settings):
        torch.manual_seed(0)
        return [layer.weight for layer in SpikingMLP(2, (3, 4, 5), 1, **settings).linears]

    plain, scaled = weights(), weights(gain=gain, hidden_gain=hidden_gain)
    for factor, before, after in zip((gain, hidden_gain, hidden_gain), plain, scaled, strict=True):
        torch.testing.assert_close(after, factor * before)
    layers = [torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)]
    before = [layer.weight.item() for layer in layers]
    scale_weights(layers, 2.0, 3.0)
    assert [layer.weight.item() for layer in layers] == pytest.approx([2 * before[0], 3 * before[1]])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_sizes": ()}, "hidden_sizes must name at least one spiking layer"),
        ({"steps_per_observation": 0}, "steps_per_observation must be at least 1, got 0"),
        ({"skip": True}, "skip needs two hidden layers of equal width before another"),
        ({"skip": True, "hidden_sizes": (3, 3)}, "skip needs two hidden layers"),
        ({"skip": True, "hidden_sizes": (3, 4, 4)}, "skip needs two hidden layers"),
        ({"beta": 1.01}, r"beta must lie in \[0, 1\]"),
        ({"beta": -0.01}, r"beta must lie in \[0, 1\]"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"reset": "other"}, "unknown reset 'other'"),
        ({"latency": (1.0, 1.0)}, "latencies need a range"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        SpikingMLP(**{"in_features": 2, "hidden_sizes": (3,), "out_features": 1, **settings})


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"beta": 1.0}, {"threshold": 1e-6}, {"steps_per_observation": 1}])
def test_settings_at_their_bounds_are_settings(settings):
    assert SpikingMLP(2, (3,), 1, **settings)(torch.zeros(1, 1, 2))[0].shape == (1, 1, 1)


def test_skips_are_of_layers_of_one_width_from_the_third_on():
    assert SpikingMLP(2, (3, 3, 4), 1, skip=True).skipped_to == {2}
    assert SpikingMLP(2, (3, 3, 3, 3), 1, skip=True).skipped_to == {2, 3}
    assert SpikingMLP(2, (4, 3, 3, 3), 1, skip=True).skipped_to == {3}
    assert SpikingMLP(2, (3, 3, 3), 1).skipped_to == frozenset()


MASK = torch.zeros(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("inputs", "state", "mask", "says"),
    [
        ((2, 3, 3), None, None, r"inputs must be \[E >= 1, B, 2\], got \(2, 3, 3\)"),
        ((3, 2), None, None, "inputs must be"),
        ((0, 3, 2), None, None, "inputs must be"),
        ((2, 3, 2), (3, 5), None, r"state must be \(3, 4\), got \(3, 5\)"),
        ((2, 3, 2), (2, 4), None, "state must be"),
        ((2, 3, 2), None, MASK[:1], r"reset_mask must be bool \(2, 3\)"),
        ((2, 3, 2), None, MASK.float(), "reset_mask must be bool"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(inputs, state, mask, says):
    net = SpikingMLP(2, (3,), 1)
    for call in (net, net.forward_with_spikes):
        with pytest.raises(ValueError, match=says):
            call(torch.zeros(inputs), None if state is None else torch.zeros(state), mask)


@pytest.mark.parametrize(
    ("current", "membrane", "mask", "settings", "says"),
    [
        ((3, 2), None, None, {}, r"current must be \[steps >= 1, batch, neurons\]"),
        ((0, 3, 2), None, None, {}, "current must be"),
        ((2, 3, 2), (3, 3), None, {}, r"membrane must be \(3, 2\), got \(3, 3\)"),
        ((2, 3, 2), None, MASK[:1], {}, r"reset_mask must be bool \(2, 3\)"),
        ((2, 3, 2), None, MASK.long(), {}, "reset_mask must be bool"),
        ((2, 3, 2), None, None, {"beta": [0.5] * 3}, "beta is given for 3 neurons, current has 2"),
        ((2, 3, 2), None, None, {"threshold": [0.5] * 3}, "threshold is given for 3 neurons"),
    ],
)
def test_a_layers_tensors_that_do_not_fit_are_refused(current, membrane, mask, settings, says):
    with pytest.raises(ValueError, match=says):
        LIF(**settings)(torch.zeros(current), None if membrane is None else torch.zeros(membrane), mask)


def test_parameters_of_a_layer_are_numbers_or_one_for_each_neuron():
    for name in ("beta", "threshold"):
        with pytest.raises(ValueError, match=rf"{name} must be a number or one per neuron, got shape \(1, 2\)"):
            LIF(**{name: [[0.5, 0.5]]})
    with pytest.raises(ValueError, match="hold must be at least 1, got 0"):
        LIF(hold=0)
    learned = LIF(0.5, 2.0, learn_beta=True, learn_threshold=True)
    assert {name for name, _ in learned.named_parameters()} == {"beta", "threshold"}
    with torch.no_grad():
        learned.beta.fill_(1.5)
    assert learned.decay.item() == 1
    with torch.no_grad():
        learned.beta.fill_(-0.5)
    assert learned.decay.item() == 0
    assert repr(LIF(surrogate=Surrogate("atan", 3.0), reset="zero")) == "LIF(reset='zero', surrogate=atan(3))"


@pytest.mark.parametrize(
    ("reset", "membranes", "spikes"),
    [
        ("subtract", [1.5, 1.25, 1.125], [1, 1, 1]),
        ("zero", [1.5, 1.5, 1.5], [1, 1, 1]),
        ("none", [1.5, 2.25, 2.625], [1, 1, 1]),
    ],
)
@pytest.mark.parametrize("kernel", ["torch", "numba", "functional"])
def test_what_a_spike_does_to_the_membrane_at_the_next_step(reset, membranes, spikes, kernel):
    fired, after = LIF(0.5, reset=reset, kernel=kernel).scan(torch.full((3, 1, 1), 1.5))
    assert after.flatten().tolist() == pytest.approx(membranes)
    assert fired.flatten().tolist() == spikes


@pytest.mark.parametrize("kernel", ["torch", "numba", "functional"])
def test_a_membrane_at_the_threshold_does_not_fire(kernel):
    fired, _ = LIF(1.0, 2.0, kernel=kernel)(torch.ones(3, 1, 1))
    assert fired.flatten().tolist() == [0, 0, 1]


def test_what_is_held_is_repeated_where_a_neuron_does_not_hold_it_itself():
    current, mask = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[False], [True]])
    same, kept = held(LIF(hold=2), current, mask, 2)
    assert same is current
    assert kept is mask
    repeated, spread = held(LIF(), current, mask, 2)
    assert repeated.flatten().tolist() == [1, 1, 2, 2]
    assert spread.flatten().tolist() == [False, False, True, False]
    once, _ = held(torch.nn.Identity(), current, None, 1)
    assert once is current, "who says nothing holds for one step"


def test_masks_at_simulation_steps():
    mask = torch.tensor([[True, False], [False, True]])
    assert at_first_step(None, 3) is None
    assert at_first_step(mask, 1) is mask
    assert at_first_step(mask, 2).tolist() == [[True, False], [False, False], [False, True], [False, False]]


def test_the_twin_by_hand():
    net = MLP(1, (1,), 1)
    with torch.no_grad():
        for layer, weight, bias in zip(net.linears, (2.0, 3.0), (-1.0, 0.5), strict=True):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    outputs, state = net(torch.tensor([[[1.0], [0.0]]]))
    assert outputs.flatten().tolist() == pytest.approx([3 * math.tanh(1) + 0.5, 3 * math.tanh(-1) + 0.5])
    assert state.shape == (2, 0)
    with pytest.raises(ValueError, match="at least one layer"):
        MLP(1, (), 1)


def test_currents_of_a_population_by_hand():
    """Three centres 0, 1 and 2 of width half a distance: exp(-2 d^2)."""
    code = PopulationCode(0.0, 2.0, 3, width=0.5)
    found = code(torch.tensor([[0.0, 1.5]])).tolist()[0]
    assert found == pytest.approx([math.exp(-2 * d * d) for d in (0, 1, 2, 1.5, 0.5, 0.5)])
    assert PopulationCode(0.0, 1.0, 2).width == 1


@pytest.mark.parametrize(("low", "high", "number"), [(1.0, 1.0, 3), (2.0, 1.0, 3), (0.0, 1.0, 1)])
def test_what_is_no_population_is_refused(low, high, number):
    with pytest.raises(ValueError, match="are not a population"):
        PopulationCode(low, high, number)
    with pytest.raises(ValueError, match="width must be positive, got 0"):
        PopulationCode(0.0, 1.0, 2, width=0.0)


def test_latencies_by_hand_and_beyond_their_range():
    """p = 1, 3/4, 1/4 and just above none: steps 0, 1, 3 and 4 of five."""
    code = LatencyCode(-1.0, 3.0, 5)
    spikes = code(torch.tensor([[[3.0, 2.0, 0.0, -0.9999, -1.0, -5.0, 9.0]]]))[:, 0]
    when = [spikes[:, i].nonzero().flatten().tolist() for i in range(7)]
    assert when == [[0], [1], [3], [4], [], [], [0]]


def test_changes_by_hand():
    """Threshold 1: a rise of exactly one is a spike, and so is a fall; the first observation is compared with zero."""
    code = DeltaCode(2, 1.0)
    features = torch.tensor([[[1.0, -1.0]], [[1.5, -3.0]], [[2.5, -2.1]], [[2.5, 5.0]]])
    spikes, state = code(features)
    assert spikes[:, 0].tolist() == [[1, 0, 0, 1], [0, 0, 0, 2], [1, 0, 0, 0], [0, 8, 0, 0]]
    assert state.tolist() == [[2.0, 5.0]]
    again, told = code(features[:1], torch.tensor([[2.0, -1.5]]))
    assert again[0].tolist() == [[0, 0, 1, 0]]
    assert told.tolist() == [[1.0, -1.5]]
    masked, _ = code(features[:1], torch.tensor([[2.0, -1.5]]), torch.tensor([[True]]))
    assert masked[0].tolist() == [[1, 0, 0, 1]]
    assert code.state_size == 2
    with pytest.raises(ValueError, match="threshold must be positive, got 0"):
        DeltaCode(1, 0.0)


def test_rates_at_their_bounds():
    spikes = rate(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), 2000, torch.Generator().manual_seed(0))
    assert spikes.dtype == torch.float64
    assert spikes.shape == (2000, 3)
    mean = spikes.mean(0)
    assert mean[[0, 2]].tolist() == [0, 1]
    assert mean[1].item() == pytest.approx(0.5, abs=0.05)
    assert rate(torch.tensor([1.0]), 1).tolist() == [[1]]
    for steps, rates, says in [
        (0, [0.5], "num_steps must be at least 1, got 0"),
        (1, [1.001], r"rates must lie in \[0, 1\]"),
        (1, [-0.001], r"rates must lie in \[0, 1\]"),
        (1, [float("nan")], "input must be finite"),
    ]:
        with pytest.raises(ValueError, match=says):
            rate(torch.tensor(rates), steps)


@pytest.mark.parametrize(
    ("name", "k", "primitive", "derivative", "curvature"),
    [
        ("fast_sigmoid", 2.0, lambda x: x / (1 + 2 * abs(x)), lambda x: (1 + 2 * abs(x)) ** -2, None),
        ("atan", 2.0, lambda x: math.atan(math.pi * x) / math.pi + 0.5, lambda x: 1 / (1 + (math.pi * x) ** 2), None),
        ("sigmoid", 2.0, lambda x: 1 / (1 + math.exp(-2 * x)), None, None),
        ("straight_through", 2.0, lambda x: 2 * x, lambda x: 2.0, lambda x: 0.0),
        (
            "triangle",
            2.0,
            lambda x: 0.5 + 2 * min(max(x, -0.5), 0.5) * (1 - min(abs(x), 0.5)),
            lambda x: 2 * max(0, 1 - 2 * abs(x)),
            None,
        ),
        ("box", 2.0, lambda x: 0.5 + min(max(x, -0.5), 0.5), lambda x: float(abs(x) < 0.5), lambda x: 0.0),
    ],
)
def test_surrogates_by_their_formulas(name, k, primitive, derivative, curvature):
    points = torch.tensor([-0.75, -0.1, 0.3, 2.0], dtype=torch.float64)
    surrogate = Surrogate(name, k)

    def slope_of(function, x, step=1e-5):
        return (function(x + step) - function(x - step)) / (2 * step)

    derivative = derivative or (lambda x: slope_of(primitive, x))
    curvature = curvature or (lambda x: slope_of(derivative, x, 1e-4))
    for found, expected in (
        (surrogate.primitive(points), primitive),
        (surrogate.derivative(points), derivative),
        (surrogate.curvature(points), curvature),
    ):
        assert found.tolist() == pytest.approx([expected(x) for x in points.tolist()], abs=1e-5)


def test_slopes_by_default_and_where_they_are_refused():
    slopes = {name: Surrogate(name).k for name in get_args(SurrogateName)}
    assert slopes == {"fast_sigmoid": 25, "atan": 2, "sigmoid": 25, "straight_through": 1, "triangle": 1, "box": 2}
    assert Surrogate("atan", 0.5).k == 0.5
    for slope in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="slope must be positive"):
            Surrogate("atan", slope)
    with pytest.raises(ValueError, match="unknown surrogate 'none': choose one of fast_sigmoid, atan"):
        Surrogate("none")


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, 1),
        ({"kernel": "torch"}, 0),
        ({"kernel": "functional"}, 0),
        ({"skip": True, "hidden_sizes": (3, 3, 3)}, 0),
        ({"latency": (0.0, 1.0)}, 1),
    ],
)
def test_only_a_chain_whose_kernel_is_free_is_asked_whether_it_runs_fused(monkeypatch, settings, asked):
    calls = []
    monkeypatch.setattr(networks, "fused_plan", lambda *given: calls.append(given))
    SpikingMLP(**{"in_features": 2, "hidden_sizes": (3,), "out_features": 1, **settings})(torch.zeros(1, 1, 2))
    assert len(calls) == asked


class Own(LIF):
    """Somebody's own class, which is called as any module is."""


@pytest.mark.parametrize("mask", [None, torch.tensor([[False, True], [True, False], [False, False]])])
def test_neurons_of_an_own_class_are_integrated_step_by_step_and_start_from_rest_where_they_should(mask):
    current, membrane = torch.arange(12.0).view(3, 2, 2), torch.ones(2, 2)
    expected = integrated(LIF(0.5, reset="none"), current, membrane, mask)
    torch.testing.assert_close(integrated(Own(0.5, reset="none"), current, membrane, mask), expected)
    rows = [membrane]
    for t in range(3):
        before = rows[-1] if mask is None else rows[-1] * ~mask[t].unsqueeze(-1)
        rows.append(0.5 * before + current[t])
    torch.testing.assert_close(expected, torch.stack(rows[1:]))
