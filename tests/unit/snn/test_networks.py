"""Networks: the fused paths against the layers one by one, state, masks, bad input."""

import pytest
import torch

from synrl_ray.snn import LIF, MLP, SpikingMLP, Surrogate, stack

ROWS = {"matrix products": 0, "one compiled call": 10**6}


@pytest.fixture(params=ROWS)
def fused_path(request, monkeypatch):
    monkeypatch.setattr(stack, "SMALL_ROWS", ROWS[request.param])


def make_net(sizes=(13, 9), k=3, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return SpikingMLP(5, sizes, 2, steps_per_observation=k, gain=4.0, **options).to(dtype)


def results(net, forward, inputs, state, mask):
    """Outputs, state and the gradients of everything, from a loss on both."""
    inputs, state = inputs.clone().requires_grad_(), None if state is None else state.clone().requires_grad_()
    outputs, final = forward(inputs, state, mask)[:2]
    weights = torch.sin(torch.arange(outputs.numel() + final.numel(), dtype=outputs.dtype))
    loss = (torch.cat((outputs.flatten(), final.flatten())) * weights).sum()
    wanted = [inputs, *net.parameters()] + ([] if state is None else [state])
    return outputs, final, *torch.autograd.grad(loss, wanted)


@pytest.mark.usefixtures("fused_path")
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("surrogate", ["fast_sigmoid", "atan", "sigmoid", "straight_through", "triangle", "box"])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("carried", "masked"), [(False, False), (True, False), (True, True)])
def test_fused_equals_layer_by_layer(reset, surrogate, learned, carried, masked):
    net = make_net(
        reset=reset, surrogate=Surrogate(surrogate, 2.0), learn_beta=learned, learn_threshold=learned, threshold=0.5
    )
    inputs = torch.randn(4, 6, 5, dtype=torch.float64)
    state = torch.randn(6, net.state_size, dtype=torch.float64) if carried else None
    mask = torch.rand(4, 6) < 0.4 if masked else None
    expected = results(net, net.forward_with_spikes, inputs, state, mask)
    actual = results(net, net, inputs, state, mask)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("fused_path")
@pytest.mark.parametrize("sizes", [(8,), (3, 20, 7), (70, 64)])
@pytest.mark.parametrize("k", [1, 4])
def test_depths_widths_and_blocks(sizes, k):
    """40 rows of 70 neurons make more than one block of cells."""
    net = make_net(sizes, k)
    inputs = torch.randn(2, 40, 5, dtype=torch.float64)
    state = torch.randn(40, net.state_size, dtype=torch.float64)
    expected = results(net, net.forward_with_spikes, inputs, state, None)
    for a, b in zip(results(net, net, inputs, state, None), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("fused_path")
def test_float32_agrees_to_1e_6():
    net = make_net(dtype=torch.float32)
    inputs = torch.randn(1, 7, 5)
    expected, state, _ = net.forward_with_spikes(inputs)
    outputs, final = net(inputs)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(final, state, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("fused_path")
def test_without_graph_the_same_values():
    net, inputs = make_net(), torch.randn(3, 4, 5, dtype=torch.float64)
    with_graph = net(inputs)
    with torch.no_grad():
        without = net(inputs)
    for a, b in zip(without, with_graph, strict=True):
        assert not a.requires_grad
        assert torch.equal(a, b)


@pytest.mark.usefixtures("fused_path")
def test_per_neuron_parameters_in_a_network():
    net = make_net(learn_beta=True, learn_threshold=True)
    for neuron, n in zip(net.neurons, (13, 9), strict=True):
        neuron.beta = torch.nn.Parameter(torch.rand(n, dtype=torch.float64))
        neuron.threshold = torch.nn.Parameter(0.2 + torch.rand(n, dtype=torch.float64))
    inputs = torch.randn(2, 3, 5, dtype=torch.float64)
    expected = results(net, net.forward_with_spikes, inputs, None, None)
    for a, b in zip(results(net, net, inputs, None, None), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("fused_path")
def test_frozen_weights_receive_nothing():
    net = make_net()
    net.linears[0].requires_grad_(False)
    net(torch.randn(1, 2, 5, dtype=torch.float64))[0].sum().backward()
    assert net.linears[0].weight.grad is None
    assert net.linears[1].weight.grad.abs().sum() > 0


@pytest.mark.usefixtures("fused_path")
def test_backward_twice_over_a_kept_graph():
    net = make_net()
    outputs, _ = net(torch.randn(2, 3, 5, dtype=torch.float64))
    first = torch.autograd.grad(outputs.sum(), list(net.parameters()), retain_graph=True)
    second = torch.autograd.grad(outputs.sum(), list(net.parameters()))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("fused_path")
def test_state_carried_over_a_split_sequence_equals_one_run():
    net, inputs = make_net(), torch.randn(6, 3, 5, dtype=torch.float64)
    whole, final = net(inputs)
    first, state = net(inputs[:2])
    second, state = net(inputs[2:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("fused_path")
def test_masked_rows_start_from_rest():
    net, inputs = make_net(), torch.randn(5, 2, 5, dtype=torch.float64)
    mask = torch.zeros(5, 2, dtype=torch.bool)
    mask[3, 1] = True
    outputs, state = net(inputs, torch.randn(2, net.state_size, dtype=torch.float64), mask)
    fresh, fresh_state = net(inputs[3:, 1:])
    torch.testing.assert_close(outputs[3:, 1:], fresh, rtol=0, atol=1e-12)
    torch.testing.assert_close(state[1:], fresh_state, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("fused_path")
def test_inputs_that_are_not_contiguous():
    net = make_net()
    inputs, state = torch.randn(5, 4, 3, dtype=torch.float64), torch.randn(net.state_size, 4, dtype=torch.float64)
    strided = net(inputs.permute(2, 1, 0), state.t())
    copied = net(inputs.permute(2, 1, 0).contiguous(), state.t().contiguous())
    for a, b in zip(strided, copied, strict=True):
        assert torch.equal(a, b)


def test_spikes_of_every_layer():
    net = make_net()
    outputs, state, spikes = net.forward_with_spikes(torch.randn(4, 3, 5, dtype=torch.float64))
    assert [tuple(s.shape) for s in spikes] == [(12, 3, 13), (12, 3, 9)]
    assert outputs.shape == (4, 3, 2)
    assert state.shape == (3, 24)


def test_bad_input():
    net, inputs = make_net(dtype=torch.float32), torch.zeros(2, 3, 5)
    with pytest.raises(ValueError, match=r"inputs must be \[E >= 1, B, 5\], got \(3, 5\)"):
        net(inputs[0])
    with pytest.raises(ValueError, match=r"inputs must be \[E >= 1, B, 5\], got \(2, 3, 4\)"):
        net(inputs[..., :4])
    with pytest.raises(ValueError, match=r"inputs must be \[E >= 1, B, 5\], got \(0, 3, 5\)"):
        net(inputs[:0])
    with pytest.raises(ValueError, match=r"state must be \(3, 24\), got \(2, 24\)"):
        net(inputs, torch.zeros(2, 24))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(2, 3\), got torch.bool \(3, 2\)"):
        net(inputs, None, torch.zeros(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="at least one spiking layer"):
        SpikingMLP(4, (), 2)
    with pytest.raises(ValueError, match="steps_per_observation must be at least 1, got 0"):
        SpikingMLP(4, (8,), 2, steps_per_observation=0)
    with pytest.raises(ValueError, match=r"inputs must be \[E, B, 4\], got \(2, 3, 5\)"):
        MLP(4, (8,), 2)(inputs)
    with pytest.raises(ValueError, match="at least one layer"):
        MLP(4, (), 2)


def test_the_twin_has_no_state():
    net = MLP(4, (8, 6), 2)
    outputs, state = net(torch.randn(3, 2, 4))
    assert outputs.shape == (3, 2, 2)
    assert state.shape == (2, 0)
    assert net.state_size == 0
    expected = net.linears[2](torch.tanh(net.linears[1](torch.tanh(net.linears[0](torch.ones(4))))))
    torch.testing.assert_close(net(torch.ones(1, 1, 4))[0][0, 0], expected)


def step_loop(net, inputs, membranes, mask):
    """A network of subtracting LIF layers with skip connections where they are expected, in plain torch."""
    beta, threshold = 0.9, 0.5
    surrogate = Surrogate("atan")
    outputs = []
    for e, i_e in enumerate(inputs):
        membranes = [torch.where(mask[e].unsqueeze(-1), torch.zeros_like(u), u) for u in membranes]
        for _ in range(net.steps_per_observation):
            emitted = []
            for layer, linear in enumerate(net.linears):
                signal = i_e if layer == 0 else emitted[-1]
                if layer in (2, 3):
                    signal = signal + emitted[-2]
                fired = (membranes[layer] > threshold).double()
                membranes[layer] = beta * membranes[layer] + linear(signal) - threshold * fired
                x = membranes[layer] - threshold
                smooth = surrogate.primitive(x)
                emitted.append((x > 0).double() + smooth - smooth.detach())
            membranes[4] = beta * membranes[4] + net.readout.linear(emitted[-1])
        outputs.append(membranes[4])
    return torch.stack(outputs), torch.cat(membranes, 1)


def test_skip_connections_equal_a_step_loop():
    net = make_net((9, 9, 9, 7), skip=True, threshold=0.5, surrogate=Surrogate("atan"))
    assert net.skipped_to == {2, 3}
    inputs, state = torch.randn(2, 4, 5, dtype=torch.float64), torch.randn(4, net.state_size, dtype=torch.float64)
    mask = torch.rand(2, 4) < 0.5
    spikes = net.forward_with_spikes(inputs, state, mask)[2]
    assert all(0 < layer.mean() < 1 for layer in spikes)
    actual = results(net, net, inputs, state, mask)
    expected = results(
        net, lambda i, u, m: step_loop(net, i, list(u.split(net.state_sizes, 1)), m), inputs, state, mask
    )
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)  # readout weights are float32 powers
    without = make_net((9, 9, 9, 7), threshold=0.5, surrogate=Surrogate("atan"))
    assert not torch.allclose(without(inputs, state, mask)[0], actual[0])


def test_skip_connections_need_layers_to_bridge():
    with pytest.raises(ValueError, match=r"two hidden layers of equal width before another, got \(8, 8\)"):
        SpikingMLP(4, (8, 8), 2, skip=True)
    with pytest.raises(ValueError, match="equal width"):
        SpikingMLP(4, (8, 6, 8), 2, skip=True)


@pytest.mark.parametrize("learned", [False, True])
def test_layers_wider_than_a_block_of_cells(learned):
    net = make_net((2500,), k=2, learn_beta=learned, learn_threshold=learned)
    inputs = torch.randn(2, 2, 5, dtype=torch.float64)
    expected = results(net, net.forward_with_spikes, inputs, None, None)
    for a, b in zip(results(net, net, inputs, None, None), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("fused_path")
def test_replaced_and_parametrized_members_are_used():
    net, inputs = make_net(), torch.randn(2, 3, 5, dtype=torch.float64)
    net(inputs)
    torch.nn.utils.parametrize.register_parametrization(net.linears[1], "weight", torch.nn.Tanh())
    net.neurons[1] = LIF(0.3, 0.4).double()
    net.neurons[0].threshold = torch.full((13,), 0.2, dtype=torch.float64)
    for a, b in zip(net(inputs), net.forward_with_spikes(inputs), strict=False):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
