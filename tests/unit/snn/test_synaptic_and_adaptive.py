"""Second-order and adaptive neurons: kernels, gradients, carried state, masks, bad input."""

import pytest
import torch

from synrl_ray.snn import LIF, AdaptiveLIF, LeakyReadout, SpikingCNN, SpikingMLP, Surrogate, Synaptic
from synrl_ray.snn.adaptive_scan import adaptive_scan

NAMES = ("current", "membrane", "adaptation", "beta", "threshold", "rho", "kappa")


def adaptive_case(steps=6, batch=3, neurons=5, *, per_neuron=False, seed=0):
    g = torch.Generator().manual_seed(seed)
    shape = (neurons,) if per_neuron else ()
    tensors = [torch.randn(s, generator=g).double() for s in ((steps, batch, neurons), (batch, neurons))]
    tensors.append(torch.rand(batch, neurons, generator=g).double())
    tensors += [torch.rand(shape, generator=g).double() + add for add in (0, 0.3, 0, 0.1)]
    return [tensor.requires_grad_() for tensor in tensors]


def run(tensors, mask, surrogate, kernel):
    current, membrane, adaptation, *parameters = tensors
    results = adaptive_scan(current, membrane, adaptation, tuple(parameters), surrogate, mask, kernel)
    weights = torch.sin(torch.arange(results[0].numel() * 3, dtype=torch.float64)).view(3, *current.shape)
    loss = sum((w * r).sum() for w, r in zip(weights, results, strict=True))
    return *results, *torch.autograd.grad(loss, tensors)


@pytest.mark.parametrize("kernel", ["torch", "numba"])
@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"])
@pytest.mark.parametrize("per_neuron", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_adaptive_gradients_equal_automatic_differentiation(kernel, surrogate, per_neuron, masked):
    """The functional path leaves the derivatives to autograd."""
    tensors = adaptive_case(per_neuron=per_neuron)
    mask = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) < 0.3 if masked else None
    expected = run(tensors, mask, Surrogate(surrogate, 2.0), "functional")
    assert 0.1 < expected[0].mean() < 0.9
    actual = run(tensors, mask, Surrogate(surrogate, 2.0), kernel)
    for name, a, b in zip(("spikes", "u", "a", *NAMES), actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")


def test_adaptive_without_adaptation_is_lif():
    torch.manual_seed(0)
    current = torch.randn(20, 3, 4)
    spikes, state = AdaptiveLIF(0.8, kappa=0.0)(current)
    expected, membrane = LIF(0.8)(current)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(state[:, :4], membrane)


def test_adaptation_slows_firing():
    current = torch.full((60, 1, 1), 0.5)
    assert AdaptiveLIF(0.9, kappa=0.5)(current)[0].sum() < AdaptiveLIF(0.9, kappa=0.0)(current)[0].sum()


@pytest.mark.parametrize("make", [lambda: AdaptiveLIF(0.8, 0.5), lambda: Synaptic(0.7, 0.8, 0.5)])
def test_split_sequence_and_mask(make):
    torch.manual_seed(0)
    neuron, current = make(), torch.randn(9, 3, 4)
    spikes, final = neuron(current)
    first, state = neuron(current[:4])
    second, state = neuron(current[4:], state)
    assert torch.equal(torch.cat((first, second)), spikes)
    torch.testing.assert_close(state, final)
    mask = torch.zeros(9, 3, dtype=torch.bool)
    mask[5, 1] = True
    masked, masked_state = neuron(current, torch.randn(3, 8), mask)
    alone, alone_state = neuron(current[5:, 1:2])
    assert torch.equal(masked[5:, 1:2], alone)
    torch.testing.assert_close(masked_state[1:2], alone_state)


def test_gradients_reach_every_learned_parameter():
    neuron = AdaptiveLIF(learned=("beta", "threshold", "rho", "kappa"))
    neuron(torch.rand(12, 4, 3))[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs() > 0 for p in neuron.parameters())
    assert len(list(neuron.parameters())) == 4


@pytest.mark.parametrize("neuron", [Synaptic, AdaptiveLIF])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_in_a_network(neuron, kind):
    """A split run carries its state, a mask starts from rest, gradients arrive; the input is held for K steps."""
    torch.manual_seed(0)
    options = {"steps_per_observation": 3, "gain": 6.0, "hidden_gain": 3.0, "neuron": neuron}
    if kind == "mlp":
        net, inputs = SpikingMLP(3, (8, 6), 2, **options), torch.randn(4, 2, 3)
    else:
        net = SpikingCNN((1, 6, 6), 2, shape=((2, 3, 2),), hidden_size=6, **options)
        inputs = torch.randn(4, 2, 1, 6, 6)
    whole, final, spikes = net.forward_with_spikes(inputs)
    assert all(layer.sum() > 0 for layer in spikes)
    assert spikes[0].shape == (12, 2, 8)
    first, state = net(inputs[:2])
    second, state = net(inputs[2:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(state, final, rtol=1e-6, atol=1e-5)
    assert state.shape == (2, net.state_size) == (2, 2 * (8 + 6) + 2)
    mask = torch.zeros(4, 2, dtype=torch.bool)
    mask[1, 0] = True
    torch.testing.assert_close(net(inputs, None, mask)[0][1:, :1], net(inputs[1:, :1])[0], rtol=1e-6, atol=1e-5)
    held = inputs.repeat_interleave(3, 0)
    net.steps_per_observation = 1  # the readout then integrates nothing, so that spikes are compared
    net.readout = LeakyReadout(6, 2)
    for a, b in zip(net.forward_with_spikes(held)[2], spikes, strict=True):
        assert torch.equal(a, b)
    whole.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in next(iter(net.children())).parameters())


def test_bad_input():
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 1.5"):
        Synaptic(alpha=1.5)
    with pytest.raises(ValueError, match=r"state must be \(2, 6\), got \(2, 3\)"):
        Synaptic()(torch.zeros(1, 2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"rho must lie in \[0, 1\], got -0.5"):
        AdaptiveLIF(rho=-0.5)
    with pytest.raises(ValueError, match="kappa must be at least 0"):
        AdaptiveLIF(kappa=-1.0)
    with pytest.raises(ValueError, match="threshold must be positive"):
        AdaptiveLIF(threshold=0.0)
    with pytest.raises(ValueError, match=r"beta must be a number or one per neuron, got shape \(1, 1\)"):
        AdaptiveLIF(beta=torch.ones(1, 1))
    with pytest.raises(ValueError, match=r"cannot learn \['tau'\]: choose from beta, threshold, rho, kappa"):
        AdaptiveLIF(learned=("tau",))
    with pytest.raises(ValueError, match=r"current must be .* got \(2, 3\)"):
        AdaptiveLIF()(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"state must be \(2, 6\), got \(2, 3\)"):
        AdaptiveLIF()(torch.zeros(1, 2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(1, 2\)"):
        AdaptiveLIF()(torch.zeros(1, 2, 3), None, torch.zeros(1, 2))
