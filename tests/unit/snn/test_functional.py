"""The functional path: same values and gradients as the fused scans, through torch.func to second order."""

import pytest
import torch
from torch.func import functional_call, grad, hessian, jvp, vmap

from synrl_ray.snn import AdaptiveLIF, SpikingMLP, Surrogate, lif_scan


def tensors(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {
        "current": torch.randn(5, 3, 4, generator=g).double().requires_grad_(),
        "membrane": torch.randn(3, 4, generator=g).double().requires_grad_(),
        "beta": torch.rand(4, generator=g).double().requires_grad_(),
        "threshold": (0.3 + torch.rand(4, generator=g).double()).requires_grad_(),
    }


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"])
@pytest.mark.parametrize("graded", [False, True])
def test_equals_the_fused_scan(reset, surrogate, graded):
    results = []
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.3
    for kernel in ("functional", "torch"):
        named = tensors()
        spikes, membranes = lif_scan(
            **named, surrogate=Surrogate(surrogate, 3.0), reset=reset, reset_mask=mask, hold=2, graded=graded,
            kernel=kernel,
        )  # fmt: skip
        loss = (spikes * torch.arange(spikes.numel()).view(spikes.shape).sin()).sum() + membranes.square().sum()
        results.append((spikes, membranes, *torch.autograd.grad(loss, list(named.values()))))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def network():
    torch.manual_seed(0)
    net = SpikingMLP(3, (8, 6), 2, steps_per_observation=3, gain=4.0, surrogate=Surrogate("atan")).double()
    return net, {name: p.detach() for name, p in net.named_parameters()}


def loss_of(net):
    def loss(parameters, inputs, targets):
        outputs, _ = functional_call(net, parameters, (inputs,))
        return (outputs - targets).square().mean()

    return loss


def test_func_grad_equals_the_fused_backward():
    net, parameters = network()
    inputs, targets = torch.randn(2, 4, 3).double(), torch.randn(2, 4, 2).double()
    by_func = grad(loss_of(net))(parameters, inputs, targets)
    (net(inputs)[0] - targets).square().mean().backward()
    for name, p in net.named_parameters():
        assert p.grad.abs().sum() > 0
        torch.testing.assert_close(by_func[name], p.grad, rtol=1e-9, atol=1e-9)


def test_vmap_over_tasks_equals_a_loop():
    net, parameters = network()
    inputs, targets = torch.randn(5, 1, 4, 3).double(), torch.randn(5, 1, 4, 2).double()
    batched = vmap(grad(loss_of(net)), in_dims=(None, 0, 0))(parameters, inputs, targets)
    for task in range(5):
        alone = grad(loss_of(net))(parameters, inputs[task], targets[task])
        for name in parameters:
            torch.testing.assert_close(batched[name][task], alone[name], rtol=1e-9, atol=1e-9)


def test_vmap_over_parameters():
    net, parameters = network()
    stacked = {name: torch.stack([p, 1.5 * p, -p]) for name, p in parameters.items()}
    inputs = torch.randn(1, 2, 3).double()
    outputs = vmap(lambda p: functional_call(net, p, (inputs,))[0])(stacked)
    for i in range(3):
        expected = functional_call(net, {name: p[i] for name, p in stacked.items()}, (inputs,))[0]
        torch.testing.assert_close(outputs[i], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("surrogate", ["atan", "triangle", "box"])
def test_second_order_against_finite_differences(surrogate):
    """Graded spikes make the surrogate the true derivative, so the Hessian can be checked numerically."""
    fixed = {name: t.detach() for name, t in tensors().items()}

    def loss(current):
        spikes, membranes = lif_scan(
            current.view(2, 1, 3), torch.zeros(1, 3).double(), beta=fixed["beta"][:3], threshold=fixed["threshold"][:3],
            surrogate=Surrogate(surrogate, 1.0), reset="none", graded=True, kernel="functional",
        )  # fmt: skip
        return (spikes.exp() * membranes).sum()

    x, h = torch.randn(6, generator=torch.Generator().manual_seed(3)).double(), 1e-5
    first = grad(loss)
    numeric = torch.stack([(first(x + h * e) - first(x - h * e)) / (2 * h) for e in torch.eye(6).double()])
    exact = hessian(loss)(x)
    assert exact.abs().max() > 0.01
    torch.testing.assert_close(exact, numeric, rtol=1e-6, atol=1e-7)


def test_second_order_outside_of_func_with_a_functional_network():
    torch.manual_seed(0)
    net = SpikingMLP(3, (8,), 2, steps_per_observation=2, gain=4.0, kernel="functional", surrogate=Surrogate("atan"))
    outputs, _ = net(torch.randn(1, 4, 3))
    (first,) = torch.autograd.grad(outputs.square().sum(), net.linears[0].weight, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), net.linears[0].weight)
    assert second.abs().sum() > 0


def test_forward_mode():
    fixed = {name: t.detach() for name, t in tensors().items()}

    def run(current):
        return lif_scan(**dict(fixed, current=current), surrogate=Surrogate("atan"), reset="none")[1]

    current, direction = fixed["current"], torch.randn(5, 3, 4).double()
    _, tangent = jvp(run, (current,), (direction,))
    torch.testing.assert_close(tangent, run(current + direction) - run(current))  # linear without reset


def test_adaptive_neurons_under_vmap():
    neuron, current = AdaptiveLIF(0.8, 0.5), torch.randn(4, 6, 2, 3)
    batched = vmap(lambda i: neuron(i)[0])(current)
    for task in range(4):
        assert torch.equal(batched[task], neuron(current[task])[0])
