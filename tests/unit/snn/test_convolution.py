"""Convolutional networks: shapes, the step loop they must equal, state, bad input."""

import pytest
import torch

from synrl_ray.snn import CNN, SpikingCNN, SpikingMLP

SHAPE = {"shape": ((4, 4, 2), (6, 3, 1)), "hidden_size": 10}


def make_net(**options):
    torch.manual_seed(0)
    return SpikingCNN((2, 12, 11), 3, steps_per_observation=3, gain=4.0, **SHAPE, **options).double()


@pytest.mark.parametrize(
    ("shape", "neurons"),
    [("nature", [32 * 20 * 20, 64 * 9 * 9, 64 * 7 * 7, 512, 6]), ("small", [16 * 20 * 20, 32 * 9 * 9, 256, 6])],
)
def test_shapes_for_atari(shape, neurons):
    net = SpikingCNN((4, 84, 84), 6, shape=shape)
    assert net.state_sizes == neurons
    outputs, state = net(torch.zeros(1, 1, 4, 84, 84, dtype=torch.uint8))
    assert outputs.shape == (1, 1, 6)
    assert state.shape == (1, sum(neurons))
    assert CNN((4, 84, 84), 6, shape=shape)(torch.zeros(1, 1, 4, 84, 84))[0].shape == (1, 1, 6)


def test_equals_a_step_loop():
    net = make_net(threshold=0.25)
    inputs = torch.randn(1, 2, 2, 12, 11, dtype=torch.float64)
    outputs, state, spikes = net.forward_with_spikes(inputs)
    membranes = [torch.zeros(2, n, dtype=torch.float64) for n in net.state_sizes]
    for _ in range(3):
        signal = inputs[0]
        for layer, weights in enumerate([*net.convolutions, net.linear]):
            fired = 0.25 * (membranes[layer] > 0.25)
            membranes[layer] = 0.9 * membranes[layer] + weights(signal).flatten(1) - fired
            signal = (membranes[layer] > 0.25).double()
            signal = signal.view(2, *net.map_shapes[layer + 1]) if layer == 0 else signal
        membranes[3] = 0.9 * membranes[3] + net.readout.linear(signal)
    assert all(s.mean() > 0 for s in spikes)
    torch.testing.assert_close(outputs[0], membranes[3], rtol=0, atol=1e-6)
    for layer, (channels, _, _) in enumerate(net.map_shapes[1:]):  # carried on as [pixels, channels]
        membranes[layer] = membranes[layer].view(2, channels, -1).transpose(1, 2).flatten(1)
    torch.testing.assert_close(state, torch.cat(membranes, 1), rtol=0, atol=1e-6)


def test_kernels_agree_in_values_and_gradients():
    inputs = torch.randn(2, 2, 2, 12, 11, dtype=torch.float64)
    results = []
    for kernel in ("torch", "numba"):
        net = make_net(kernel=kernel)
        outputs, state = net(inputs)
        results.append((outputs, *torch.autograd.grad(outputs.square().sum() + state.sum(), list(net.parameters()))))
    for a, b in zip(*results, strict=True):
        assert b.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_state_and_mask():
    net, inputs = make_net(), torch.randn(4, 2, 2, 12, 11, dtype=torch.float64)
    whole, final = net(inputs)
    first, state = net(inputs[:1])
    second, state = net(inputs[1:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-12)
    mask = torch.zeros(4, 2, dtype=torch.bool)
    mask[2, 1] = True
    masked, _ = net(inputs, None, mask)
    torch.testing.assert_close(masked[2:, 1:], net(inputs[2:, 1:])[0], rtol=0, atol=1e-12)


def test_bytes_are_scaled():
    net = make_net().float()
    frames = torch.randint(0, 256, (1, 2, 2, 12, 11), dtype=torch.uint8)
    torch.testing.assert_close(net(frames)[0], net(frames.float() / 255)[0])


def test_bad_input():
    net = make_net()
    with pytest.raises(ValueError, match=r"inputs must be \[E >= 1, B, 2, 12, 11\], got \(1, 2, 2, 11, 12\)"):
        net(torch.zeros(1, 2, 2, 11, 12))
    with pytest.raises(ValueError, match=r"state must be \(2, \d+\), got \(2, 5\)"):
        net(torch.zeros(1, 2, 2, 12, 11), torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"reset_mask must be bool \(1, 2\)"):
        net(torch.zeros(1, 2, 2, 12, 11), None, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="unknown shape 'large': choose one of nature, small"):
        SpikingCNN((1, 84, 84), 2, shape="large")
    with pytest.raises(ValueError, match="at least one convolution"):
        CNN((1, 84, 84), 2, shape=())
    with pytest.raises(ValueError, match=r"convolution 1 \(kernel 8\) is larger than its input of 6 x 84"):
        SpikingCNN((1, 6, 84), 2)
    with pytest.raises(ValueError, match="steps_per_observation must be at least 1"):
        SpikingCNN((1, 84, 84), 2, steps_per_observation=0)


@pytest.mark.parametrize("kernel", ["auto", "torch"])
@pytest.mark.parametrize("shape", [(4,), (1, 8, 8)], ids=["MLP", "CNN"])
def test_of_no_rows_there_are_no_outputs(shape, kernel):
    options = {"steps_per_observation": 2, "kernel": kernel}
    net = SpikingMLP(4, (6,), 3, **options) if len(shape) == 1 else SpikingCNN(shape, 3, shape=((2, 3, 2),), **options)
    outputs, state = net(torch.zeros(5, 0, *shape))
    assert outputs.shape == (5, 0, 3)
    assert state.shape == (0, net.state_size)
