"""Firing rates of layers and the penalty on high ones, by hand."""

import pytest
import torch

from synrl_ray.snn.rates import excess, rates_of


def test_rates_are_means_over_neurons_and_the_steps_of_each_observation():
    first = torch.tensor([[1, 1], [0, 0], [1, 0], [0, 0]]).view(4, 1, 2)  # two observations of two steps, one row
    second = torch.tensor([1, 1, 0, 1]).view(4, 1, 1)
    rates = rates_of([first.float(), second.float()], 2)
    torch.testing.assert_close(rates, torch.tensor([[[2 / 4, 2 / 2]], [[1 / 4, 1 / 2]]]))


def test_excess_is_the_mean_square_above_the_target_and_pushes_nothing_below_it():
    rates = torch.tensor([[0.5, 0.1], [0.3, 0.2]], requires_grad=True)
    found = excess(rates, 0.2)
    torch.testing.assert_close(found, torch.tensor([0.3**2 / 2, 0.1**2 / 2]))
    found.sum().backward()
    assert rates.grad is not None
    torch.testing.assert_close(rates.grad, torch.tensor([[0.3, 0.0], [0.1, 0.0]]))


def test_networks_without_spiking_layers_pay_nothing():
    assert excess(torch.zeros(3, 0), 0.1).tolist() == [0, 0, 0]


@pytest.mark.parametrize("num_observations", [1, 3])
def test_gradients_reach_spikes(num_observations):
    spikes = torch.ones(6, 2, 5, requires_grad=True)
    excess(rates_of([spikes], num_observations), 0.0).sum().backward()
    assert spikes.grad is not None
    assert (spikes.grad > 0).all()
