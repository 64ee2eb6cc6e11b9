"""Our fused scan and networks against snntorch's own step loop: same spikes, membranes and gradients.

snntorch emits spikes and resets as float32 whatever the input, and what passes through them is rounded to float32. The
loss weights here are multiples of 1/16 and a scalar threshold is 3/4, which float32 holds exactly, so the
comparison stays in float64; only the gradient of a scalar threshold under reset by subtraction does not.
"""

import pytest
import snntorch
import torch
from snntorch import surrogate as theirs

from synrl_ray.snn import LIF, SpikingMLP, Surrogate, stack

STEPS, BATCH, NEURONS = 7, 3, 5
SURROGATES = {
    "fast_sigmoid": theirs.fast_sigmoid(slope=25),
    "atan": theirs.atan(alpha=2.0),
    "sigmoid": theirs.sigmoid(slope=25),
    "straight_through": theirs.straight_through_estimator(),
    # snnTorch has neither of these: its ``triangular`` is a constant whose sign changes at the threshold.
    "triangle": theirs.custom_surrogate(lambda x, grad, _: grad * (1 - x.abs()).clamp(min=0)),
    "box": theirs.custom_surrogate(lambda x, grad, _: grad * (x.abs() < 0.5)),
}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def sixteenths(*shape: int) -> torch.Tensor:
    return torch.randint(-16, 17, shape).double() / 16


def step_loop(neuron: torch.nn.Module, current: torch.Tensor, membrane: torch.Tensor) -> list[torch.Tensor]:
    spikes, membranes = [], []
    for i_t in current:
        s_t, membrane = neuron(i_t, membrane)
        spikes.append(s_t)
        membranes.append(membrane)
    return [torch.stack(spikes).double(), torch.stack(membranes)]


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_layer_matches_snntorch(kernel, surrogate, reset, per_neuron):
    torch.manual_seed(0)
    current, membrane = random(STEPS, BATCH, NEURONS), random(BATCH, NEURONS)
    beta = torch.rand(NEURONS, dtype=torch.float64) if per_neuron else torch.tensor(0.8, dtype=torch.float64)
    threshold = (
        0.5 + torch.rand(NEURONS, dtype=torch.float64) if per_neuron else torch.tensor(0.75, dtype=torch.float64)
    )
    weights = sixteenths(2, STEPS, BATCH, NEURONS)

    ours = LIF(0.5, 1.0, learn_beta=True, learn_threshold=True, surrogate=Surrogate(surrogate), reset=reset)
    ours.kernel = kernel
    ours.beta, ours.threshold = torch.nn.Parameter(beta.clone()), torch.nn.Parameter(threshold.clone())
    leaky = snntorch.Leaky(
        beta=beta.clone(), threshold=threshold.clone(), learn_beta=True, learn_threshold=True, reset_mechanism=reset,
        spike_grad=SURROGATES[surrogate],
    )  # fmt: skip

    results = []
    for run, parameters in (
        (lambda i, u: ours.scan(i, u), (ours.beta, ours.threshold)),
        (lambda i, u: step_loop(leaky, i, u), (leaky.beta, leaky.threshold)),
    ):
        i, u = current.clone().requires_grad_(), membrane.clone().requires_grad_()
        spikes, membranes = run(i, u)
        loss = (spikes * weights[0]).sum() + (membranes * weights[1]).sum()
        results.append((spikes, membranes, *torch.autograd.grad(loss, (i, u, *parameters))))
    spikes = results[0][0]
    assert 0.05 < spikes.mean() < 0.95
    for name, a, b in zip(("spikes", "membranes", "current", "membrane", "beta", "threshold"), *results, strict=True):
        rounded = name == "threshold" and reset == "subtract" and not per_neuron
        tolerance = 1e-6 if rounded else 1e-10
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("rows", [0, 10**6], ids=["matrix products", "one compiled call"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_network_matches_snntorch(monkeypatch, rows, reset):
    monkeypatch.setattr(stack, "SMALL_ROWS", rows)
    torch.manual_seed(1)
    net = SpikingMLP(4, (16, 12), 3, steps_per_observation=6, reset=reset, gain=3.0).double()
    linears = [*net.linears, net.readout.linear]
    neurons = [snntorch.Leaky(beta=0.9, spike_grad=theirs.fast_sigmoid(), reset_mechanism=reset) for _ in range(2)]
    readout = snntorch.Leaky(beta=0.9, reset_mechanism="none")
    inputs, weights = random(1, 9, 4), random(9, 3)

    outputs, state = net(inputs)
    ours = torch.autograd.grad((outputs[0] * weights).sum(), list(net.parameters()))

    membranes = [torch.zeros(9, n, dtype=torch.float64) for n in (16, 12, 3)]
    for _ in range(6):
        signal = inputs[0]
        for i, neuron in enumerate(neurons):
            signal, membranes[i] = neuron(linears[i](signal), membranes[i])
            signal = signal.double()
        _, membranes[2] = readout(linears[2](signal), membranes[2])
    expected = torch.autograd.grad((membranes[2] * weights).sum(), list(net.parameters()))

    torch.testing.assert_close(outputs[0], membranes[2], rtol=0, atol=1e-6)  # readout weights are float32 powers
    torch.testing.assert_close(state, torch.cat(membranes, 1), rtol=0, atol=1e-6)
    for a, b in zip(ours, expected, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
