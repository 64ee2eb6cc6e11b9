"""Compiled kernels against torch's on layers of a few cells, in every combination of what a scan may be asked for."""

import itertools

import pytest
import torch

from synrl_ray.snn import LIF, AdaptiveLIF, SpikingMLP, Surrogate, lif_scan, stack
from synrl_ray.snn.fusion import fused_plan
from synrl_ray.snn.scan import RESETS

LEARNED = ("beta", "threshold", "rho", "kappa")
SURROGATES = ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"]


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("reset", "surrogate"), itertools.product(RESETS, SURROGATES))
@pytest.mark.parametrize("hold", [1, 2])
@pytest.mark.parametrize(
    ("per_neuron", "masked", "learned"), [(False, False, False), (False, True, True), (True, True, True)]
)
def test_a_layer_of_six_cells(reset, surrogate, hold, per_neuron, masked, learned):
    g = torch.Generator().manual_seed(3)
    shape = (3,) if per_neuron else ()
    current, membrane = (torch.randn(*size, generator=g, dtype=torch.float64) * 2 for size in ((4, 2, 3), (2, 3)))
    beta, threshold = torch.rand(shape, generator=g, dtype=torch.float64), 0.2 + torch.rand(shape, generator=g).double()
    mask = torch.tensor([[False, True], [False, False], [True, False], [False, False]]) if masked else None
    weights = torch.randn(2, 4 * hold, 2, 3, generator=g, dtype=torch.float64)

    def results(kernel, number):
        """The loss is of the spikes alone, or of both."""
        tensors = [t.clone().requires_grad_() for t in (current, membrane)]
        tensors += [t.clone().requires_grad_(learned) for t in (beta, threshold)]
        outputs = lif_scan(
            *tensors[:2], beta=tensors[2], threshold=tensors[3], surrogate=Surrogate(surrogate, 2.0), reset=reset,
            reset_mask=mask, hold=hold, kernel=kernel,
        )  # fmt: skip
        loss = sum((weights[i] * outputs[i]).sum() for i in range(number))
        return *outputs, *torch.autograd.grad(loss, tensors if learned else tensors[:2])

    assert 0 < results("torch", 1)[0].mean() < 1
    for number in (1, 2):
        close(results("numba", number), results("torch", number))


@pytest.mark.parametrize("reset", RESETS)
def test_a_layer_that_is_wider_than_a_block(reset):
    """Blocks begin within rows, each with neurons of its own."""
    g = torch.Generator().manual_seed(4)
    current, membrane = (torch.randn(*size, generator=g, dtype=torch.float64) for size in ((2, 2, 3000), (2, 3000)))
    beta, threshold = (0.2 + 0.7 * torch.rand(3000, generator=g, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(2, 2, 2, 3000, generator=g, dtype=torch.float64)

    def results(kernel):
        tensors = [t.clone().requires_grad_() for t in (current, membrane, beta, threshold)]
        outputs = lif_scan(
            *tensors[:2], beta=tensors[2], threshold=tensors[3], surrogate=Surrogate(), reset=reset, kernel=kernel
        )
        loss = sum((weights[i] * output).sum() for i, output in enumerate(outputs))
        return *outputs, *torch.autograd.grad(loss, tensors)

    close(results("numba"), results("torch"))


@pytest.mark.parametrize("rows", [0, 10**6], ids=["products", "one call"])
@pytest.mark.parametrize("sizes", [(1,), (3,), (3, 2), (2, 1, 3)])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_network_of_a_few_cells(monkeypatch, rows, sizes, k, carried, outputs):
    monkeypatch.setattr(stack, "SMALL_ROWS", rows)
    torch.manual_seed(1)
    net = SpikingMLP(2, sizes, outputs, steps_per_observation=k, gain=4.0, hidden_gain=3.0, threshold=0.5).double()
    inputs = torch.randn(3, 2, 2, dtype=torch.float64)
    state = torch.randn(2, net.state_size, dtype=torch.float64) if carried else None
    mask = torch.tensor([[False, True], [True, False], [False, False]]) if carried else None

    def results(forward):
        given = [inputs.clone().requires_grad_(), *([state.clone().requires_grad_()] if carried else [])]
        found, after = forward(given[0], given[1] if carried else None, mask)[:2]
        weights = torch.sin(torch.arange(1.0, 1 + found.numel() + after.numel(), dtype=torch.float64))
        loss = (torch.cat((found.flatten(), after.flatten())) * weights).sum()
        return found, after, *torch.autograd.grad(loss, [*given, *net.parameters()], allow_unused=True)

    close(results(net), results(net.forward_with_spikes))


@pytest.mark.parametrize("rows", [0, 10**6], ids=["products", "one call"])
@pytest.mark.parametrize(("sizes", "outputs"), [((9, 5), 1), ((8, 16), 3), ((17,), 9)])
@pytest.mark.parametrize("batch", [1, 4, 7])
def test_products_of_more_than_four_rows_and_columns(monkeypatch, rows, sizes, outputs, batch):
    monkeypatch.setattr(stack, "SMALL_ROWS", rows)
    torch.manual_seed(2)
    net = SpikingMLP(6, sizes, outputs, steps_per_observation=2, gain=4.0, hidden_gain=3.0, threshold=0.5).double()
    inputs = torch.randn(2, batch, 6, dtype=torch.float64)

    def results(forward):
        given = inputs.clone().requires_grad_()
        found, after = forward(given)[:2]
        weights = torch.sin(torch.arange(1.0, 1 + found.numel() + after.numel(), dtype=torch.float64))
        loss = (torch.cat((found.flatten(), after.flatten())) * weights).sum()
        return found, after, *torch.autograd.grad(loss, [given, *net.parameters()])

    close(results(net), results(net.forward_with_spikes))


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("masked", [False, True])
def test_adaptive_neurons_of_six_cells(surrogate, masked):
    g = torch.Generator().manual_seed(5)
    current = torch.randn(5, 2, 3, generator=g, dtype=torch.float64) * 2
    # Membranes, then adaptations: 0.7 exceeds the bare threshold of 0.6 and not the adapted one of 0.6 + 0.2.
    state = torch.tensor([[0.7, 1.5, -1.0, 1.0, 0.5, 0.2], [0.5, 0.7, 0.9, -1.0, 0.0, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[False, True], [False, False], [True, False], [False, False], [False, True]])
    weights = torch.randn(5 * 6 + 12, generator=g, dtype=torch.float64)

    def results(kernel):
        layer = AdaptiveLIF(0.8, 0.6, learned=LEARNED, surrogate=Surrogate(surrogate, 2.0), kernel=kernel).double()
        given = [current.clone().requires_grad_(), state.clone().requires_grad_()]
        spikes, after = layer(*given, mask if masked else None)
        loss = (torch.cat((spikes.flatten(), after.flatten())) * weights).sum()
        return spikes, after, *torch.autograd.grad(loss, [*given, *layer.parameters()])

    assert 0 < results("torch")[0].mean() < 1
    close(results("numba"), results("torch"))


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("reset", RESETS)
def test_a_single_cell_at_its_threshold_is_not_reset(kernel, reset):
    """It fires above the threshold only: u is 0.5 * 1 + 0.5 = 1, then 0.5 * 1 + 0.25."""
    current, membrane, threshold = (
        torch.tensor(values, dtype=torch.float64).requires_grad_() for values in ([[[0.5]], [[0.25]]], [[1.0]], 1.0)
    )
    spikes, membranes = lif_scan(
        current, membrane, beta=torch.tensor(0.5, dtype=torch.float64), threshold=threshold, surrogate=Surrogate(),
        reset=reset, kernel=kernel,
    )  # fmt: skip
    assert (spikes.flatten().tolist(), membranes.flatten().tolist()) == ([0.0, 0.0], [1.0, 0.75])
    found = torch.autograd.grad(membranes[1].sum(), [current, membrane, threshold])
    assert [each.flatten().tolist() for each in found] == [[0.5, 1.0], [0.25], [0.0]]


@pytest.mark.parametrize("rows", [0, 10**6], ids=["products", "one call"])
@pytest.mark.parametrize("learned", [("learn_beta",), ("learn_threshold",), ("learn_beta", "learn_threshold")])
@pytest.mark.parametrize("per_neuron", ["beta", "threshold"])
@pytest.mark.parametrize("used", ["outputs", "state"])
def test_a_network_of_which_one_thing_is_used(monkeypatch, rows, learned, per_neuron, used):
    """One of a neuron's parameters has a number for each neuron, and the other one for all."""
    monkeypatch.setattr(stack, "SMALL_ROWS", rows)
    torch.manual_seed(4)
    settings = {"beta": 0.8, "threshold": 0.5, per_neuron: [0.4, 0.6, 0.9]} | dict.fromkeys(learned, True)
    net = SpikingMLP(2, (3, 3), 1, steps_per_observation=2, gain=4.0, hidden_gain=3.0)
    for layer, hold in enumerate((2, 1)):
        net.neurons[layer] = LIF(**settings, hold=hold)
    net.double()
    inputs = torch.randn(3, 2, 2, dtype=torch.float64)

    def results(forward):
        found = forward(inputs)[used == "state"]
        weights = torch.sin(torch.arange(1.0, 1 + found.numel(), dtype=torch.float64))
        return torch.autograd.grad((found.flatten() * weights).sum(), list(net.parameters()), allow_unused=True)

    assert fused_plan(net, inputs, None) is not None
    close(results(net), results(net.forward_with_spikes))
