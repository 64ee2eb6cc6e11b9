"""Readouts of firing rates: by hand, against a grouped convolution, and what they cost."""

import pytest
import torch
from torch import nn

from synrl_ray.snn import SpikingCNN, SpikingMLP
from synrl_ray.snn.energy import count_energy
from synrl_ray.snn.readouts import PopulationDecoder, RateReadout


def test_rates_through_a_linear_map_by_hand():
    readout = RateReadout(nn.Linear(2, 1), "spikes", hold=4)
    with torch.no_grad():
        readout.linear.weight.copy_(torch.tensor([[2.0, -4.0]]))
        readout.linear.bias.fill_(0.5)
    spikes = torch.tensor([[1, 0], [0, 0], [1, 1], [0, 0], [0, 1], [0, 1], [0, 1], [0, 1]]).float().unsqueeze(1)
    outputs, state = readout(spikes, torch.zeros(1, 0))
    assert outputs.flatten().tolist() == [2 * 0.5 - 4 * 0.25 + 0.5, -4 + 0.5]
    assert state.shape == (1, 0)


def test_the_decoder_is_a_convolution_in_groups():
    """Which is how Tang et al. (2020) write it: a kernel as long as the population, in as many groups as outputs."""
    theirs, ours = nn.Conv1d(3, 3, 5, groups=3), PopulationDecoder(3, 5)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.flatten())
        ours.bias.copy_(theirs.bias)
    rates = torch.rand(7, 15)
    torch.testing.assert_close(ours(rates), theirs(rates.view(7, 3, 5)).squeeze(-1))


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_population_is_one_more_layer_of_spiking_neurons(kind):
    torch.manual_seed(0)
    options = {"readout": "population", "readout_neurons": 4, "gain": 4.0, "hidden_gain": 4.0}
    if kind == "mlp":
        net, inputs = SpikingMLP(3, (8,), 2, **options), torch.randn(5, 3, 3)
    else:
        net = SpikingCNN((1, 6, 6), 2, shape=((2, 3, 2),), hidden_size=8, **options)
        inputs = torch.randn(5, 3, 1, 6, 6)
    outputs, state, spikes = net.forward_with_spikes(inputs)
    assert outputs.shape == (5, 3, 2)
    assert [layer.shape[-1] for layer in spikes][-2:] == [8, 8]
    assert net.state_sizes[-2:] == [8, 0]
    rates = spikes[-1].view(5, 4, 3, 2, 4).mean(1)
    weight, bias = net.readout.linear.weight.view(2, 4), net.readout.linear.bias
    torch.testing.assert_close(outputs, (rates * weight).sum(-1) + bias)
    first, carried = net(inputs[:2])
    second, carried = net(inputs[2:], carried)
    torch.testing.assert_close(torch.cat((first, second)), outputs)
    torch.testing.assert_close(carried, state)
    outputs.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_a_spike_of_a_population_meets_one_synapse():
    net = SpikingMLP(1, (1,), 2, steps_per_observation=2, beta=0.0, readout="population", readout_neurons=3)
    with torch.no_grad():
        for linear in net.linears:
            linear.weight.fill_(3.0)
            linear.bias.zero_()
    report = count_energy(net, torch.ones(1, 1, 1))
    assert report.spikes_per_layer == (2.0, 12.0)
    assert report.effective_acs == 2 * 6 + 12
    assert report.membrane_updates == 2 * (1 + 6), "the decoder has no membranes"
    assert count_energy(SpikingMLP(1, (1,), 2, readout="spikes"), torch.ones(1, 1, 1)).membrane_updates == 4
