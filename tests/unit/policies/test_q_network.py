from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.q_network import check_q_network, q_values
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

BOX, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)
SPIKING, ANN = SpikingPolicy(hidden_sizes=(8,)), AnnPolicy(hidden_sizes=(8,))
every_policy = pytest.mark.parametrize(
    "config", [SPIKING, ANN, replace(SPIKING, share_layers=True), replace(ANN, share_layers=True)], ids=str
)


def network_of(config):
    torch.manual_seed(0)
    return ActorCritic(BOX, ACTIONS, config)


@every_policy
def test_values_are_the_networks_outputs_without_dueling(config):
    network, observations = network_of(config), torch.rand(5, 3)
    outputs, _, _ = network(observations[None])
    values = q_values(network, observations, dueling=False)
    assert values.shape == (5, 4)
    torch.testing.assert_close(values, outputs[0])


@every_policy
def test_dueling_values_have_the_critics_as_mean_and_the_actors_argmax(config):
    network, observations = network_of(config), torch.rand(5, 3)
    outputs, critic, _ = network(observations[None])
    values = q_values(network, observations, dueling=True)
    assert values.shape == (5, 4)
    torch.testing.assert_close(values.mean(-1), critic[0])
    torch.testing.assert_close(values - values[:, :1], outputs[0] - outputs[0, :, :1])


@every_policy
@pytest.mark.parametrize("dueling", [False, True])
def test_saved_policy_acts_greedily_on_the_values(config, dueling, tmp_path):
    network, observations = network_of(config), torch.rand(40, 3)
    Policy(network, BOX, ACTIONS).save(tmp_path)
    actions, _ = load_network_policy(tmp_path).act(observations.numpy())
    assert np.array_equal(actions, q_values(network, observations, dueling=dueling).argmax(-1).numpy())


def test_only_the_used_bodies_get_a_gradient():
    for dueling, used in [(False, [True, False]), (True, [True, True])]:
        network = network_of(SPIKING)
        q_values(network, torch.rand(5, 3), dueling=dueling).square().sum().backward()
        assert [any(p.grad is not None for p in body.parameters()) for body in network.bodies] == used


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (replace(SPIKING, carry_state=True), "set spiking.carry_state=false"),
        (replace(SPIKING, frame_stack=2), "set spiking.frame_stack=1"),
        (replace(ANN, frame_stack=2), "set ann.frame_stack=1"),
    ],
)
def test_policies_with_state_are_refused_with_a_remedy(config, remedy):
    with pytest.raises(UserError, match="carries a state") as caught:
        check_q_network(BOX, ACTIONS, config)
    assert caught.value.remedy == remedy
    assert "\n" not in str(caught.value)


def test_continuous_actions_are_refused_by_name():
    with pytest.raises(UserError, match=r"Pendulum has the action space Box.*Discrete"):
        check_q_network(BOX, spaces.Box(-1, 1, (2,), np.float32), ANN, "Pendulum")
