"""Initial weights scaled so that every layer fires as often as wanted."""

import pytest
import torch

from synrl_ray.snn import AdaptiveLIF, LeakyReadout, SpikingCNN, SpikingMLP, Synaptic
from synrl_ray.snn.calibration import scale_to_rate
from synrl_ray.snn.norms import measuring


def rates(net, inputs, mask=None):
    return [layer.mean().item() for layer in net.forward_with_spikes(inputs, None, mask)[2]]


MLPS = {
    "lif": {},
    "synaptic": {"neuron": Synaptic},
    "adaptive": {"neuron": AdaptiveLIF},
    "recurrent": {"recurrent": "all_to_all"},
    "layer norm": {"norm": "layer"},
    "running norm": {"norm": "running"},
    "population": {"readout": "population"},
    "latency": {"latency": (-3.0, 3.0)},
    "skip": {"skip": True},
}


@pytest.mark.parametrize("name", MLPS)
def test_every_layer_fires_at_the_rate(name):
    torch.manual_seed(0)
    net, inputs = SpikingMLP(5, (60, 60, 40), 3, gain=0.2, hidden_gain=0.2, **MLPS[name]), torch.randn(1, 200, 5)
    readout = {key: value.clone() for key, value in net.readout.state_dict().items()}
    before = rates(net, inputs)
    with measuring(net):
        factors = scale_to_rate(net, inputs, None, 0.15)
    assert rates(net, inputs) == pytest.approx([0.15] * len(before), abs=0.01)
    assert max(abs(rate - 0.15) for rate in before) > 0.05, "they did not before"
    assert len(factors) == len(before)
    for key, value in net.readout.state_dict().items():
        assert torch.equal(value, readout[key])


def test_maps_too_and_a_state_that_is_carried():
    torch.manual_seed(0)
    net = SpikingCNN((1, 12, 12), 3, shape=((4, 4, 2), (6, 3, 1)), hidden_size=30)
    frames = torch.randint(256, (6, 10, 1, 12, 12), dtype=torch.uint8)
    starts = torch.zeros(6, 10, dtype=torch.bool)
    starts[0], starts[3, :5] = True, True
    assert min(rates(net, frames, starts)) < 0.05
    scale_to_rate(net, frames, starts, 0.1)
    assert rates(net, frames, starts) == pytest.approx([0.1, 0.1, 0.1], abs=0.01)
    assert net.convolutions[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_weights_are_scaled_and_the_same_twice():
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        net, inputs = SpikingMLP(5, (20, 20), 3), torch.randn(1, 50, 5)
        weights = [linear.weight.clone() for linear in net.linears]
        factors = scale_to_rate(net, inputs, None, 0.3)
        for linear, weight, factor in zip(net.linears, weights, factors, strict=True):
            torch.testing.assert_close(linear.weight, factor * weight)
        made.append((factors, net.linears[1].bias))
    assert made[0][0] == made[1][0]
    assert torch.equal(made[0][1], made[1][1])


def test_what_no_scale_reaches_and_what_nothing_wakes():
    net, inputs = SpikingMLP(1, (4,), 1, reset="zero"), torch.ones(1, 3, 1)
    with torch.no_grad():
        net.linears[0].weight.copy_(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
        net.linears[0].bias.zero_()
    scale_to_rate(net, inputs, None, 0.9)
    assert rates(net, inputs) == [0.5], "half of the neurons fire in every step, the others cannot"
    with torch.no_grad():
        net.linears[0].weight.fill_(-1.0)
    assert scale_to_rate(net, inputs, None, 0.1) == (1.0,)
    assert type(net.readout) is LeakyReadout
