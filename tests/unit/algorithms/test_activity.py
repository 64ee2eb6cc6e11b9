"""Firing rates of a spiking actor: measured once a row, told of once where a layer is silent or saturated."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.algorithms.activity import Activity
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)


def network(**settings):
    torch.manual_seed(0)
    return ActorCritic(OBS, ACTIONS, SpikingPolicy(hidden_sizes=(40, 30), **settings))


def rows(made, number=20):
    asked = []

    def sample(most):
        asked.append(most)
        return np.ones((number, 3), np.float32), np.zeros((number, made.state_size), np.float32)

    return sample, asked


def test_rates_are_those_of_the_actors_spikes():
    for carry in (False, True):
        made = network(input_gain=3.0, hidden_gain=3.0, carry_state=carry)
        obs, state = torch.rand(9, 3), torch.randn(9, made.state_size)
        inputs, before = made.actor_inputs(obs, state)
        expected = [s.mean().item() for s in made.bodies[0].forward_with_spikes(inputs, before)[2]]
        assert made.firing_rates(obs, state) == expected
        assert 0 < expected[0] < 1
    assert ActorCritic(OBS, ACTIONS, AnnPolicy()).firing_rates(obs, torch.zeros(9, 0)) == []


def test_measured_once_a_row():
    activity, made = Activity(), network(input_gain=5.0, hidden_gain=5.0)
    sample, asked = rows(made)
    activity.note(made, sample)
    activity.note(made, sample)
    columns, notices = activity.take()
    assert list(columns) == ["firing_rate_0", "firing_rate_1"]
    assert list(columns.values()) == made.firing_rates(torch.ones(20, 3), torch.zeros(20, 0))
    assert notices == ()
    assert len(asked) == 1
    activity.note(made, sample)
    assert len(asked) == 2
    assert asked[0] == 256
    assert activity.take()[0] == columns
    assert activity.take() == ({}, ())


def test_a_large_network_is_measured_on_fewer_rows():
    image = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    made = ActorCritic(image, ACTIONS, SpikingPolicy(conv_layers="nature", hidden_sizes=(512,)))
    asked = []
    activity = Activity()
    activity.note(made, lambda most: (asked.append(most), (np.zeros((0, 4, 84, 84), np.uint8), np.zeros((0, 0))))[1])
    assert 1 <= asked[0] < 20
    assert activity.take() == ({}, ()), "nothing was collected"


def test_silent_and_saturated_layers_are_told_of_once():
    activity, made = Activity(), network(input_gain=1e-3)
    sample, _ = rows(made)
    for linear in made.bodies[0].linears:
        torch.nn.init.zeros_(linear.bias)
    activity.note(made, sample)
    (notice,) = activity.take()[1]
    assert notice.startswith("of the actor's layers hardly fires: 0 (0.00 %), 1 (0.00 %); little is learned")
    assert "spiking.firing_rate=0.1" in notice
    activity.note(made, sample)
    assert activity.take()[1] == ()
    torch.nn.init.constant_(made.bodies[0].linears[0].weight, 10.0)
    activity.note(made, sample)
    columns, (notice,) = activity.take()
    assert columns["firing_rate_0"] == 1.0
    assert "nearly always fires: 0 (100.0 %)" in notice


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"carry_state": True},
        {"encoder": "delta", "encoder_threshold": 0.2},
        {"norm": "running", "carry_state": True},
        {"normalise_observations": True},
        {"share_layers": True, "readout": "population"},
    ],
)
def test_a_network_is_calibrated_actor_and_critic(settings):
    made = network(firing_rate=0.2, **settings)
    g = torch.Generator().manual_seed(1)
    observations, starts = torch.rand(20, 30, 3, generator=g) * 2 - 1, torch.zeros(20, 30, dtype=torch.bool)
    starts[0] = True
    made.measure(observations.flatten(0, 1))
    factors = made.calibrate(0.2, observations, starts)
    assert len(factors) == len(made.bodies)
    received = made._prepare(observations, None, starts)[0].of_bodies
    for body, features in zip(made.bodies, received, strict=False):
        spikes = (
            body.forward_with_spikes(features, None, starts)
            if made.carry_membranes
            else body.forward_with_spikes(features.flatten(0, 1).unsqueeze(0))
        )[2]
        for layer in spikes:
            assert layer.mean().item() == pytest.approx(0.2, abs=0.04)
