"""Operations of policies with hand-made weights.

The spiking actor has inputs x, y, two neurons (decay 0.9, threshold 1, reset by subtraction) and two logits. Neuron a
receives 2x, neuron b 0.6y; the logits are a + b and b. So a's spike meets one weight, b's two.
"""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.recording import ObservationRecorder
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn.energy import EnergyConstants

OBS, ACTIONS = spaces.Box(-9, 9, (2,), np.float32), spaces.Discrete(2)


def spiking(**options):
    options = {"hidden_sizes": (2,), "steps_per_observation": 2, **options}
    policy = Policy(ActorCritic(OBS, ACTIONS, SpikingPolicy(**options)), OBS, ACTIONS)
    with torch.no_grad():
        for parameter in policy.network.bodies[0].parameters():
            parameter.zero_()
        actor = policy.network.bodies[0]
        actor.linears[0].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.6]]))
        actor.readout.linear.weight[:2] = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    return policy


def count(policy, *observations, states=None, **options):
    observations = np.array(observations, np.float32)
    if states is None:
        states = policy.initial_state(len(observations))
    return decision_energy(policy, observations, states, **options)


def test_spiking_policy_pays_macs_for_its_input_and_acs_for_its_spikes():
    """At (1, 1), a spikes at both steps, b (0.6, then 1.14) at the second: 2 MACs, 2 * 1 + 1 * 2 ACs."""
    energy = count(spiking(), (1, 1))
    own = energy["policy"]
    assert (own["effective_macs"], own["effective_acs"]) == (2, 4)
    assert own["spikes_per_layer"] == [3]
    assert own["activation_sparsity"] == 1 / 4
    assert own["dense_operations"] == 2 * 2 + 2 * (2 * 2)
    assert own["membrane_updates"] == 2 * (2 + 2)
    assert own["energy_pj"] == pytest.approx(2 * 4.6 + 4 * 0.9)
    assert energy["decisions"] == 1


def test_counts_are_means_over_decisions():
    """(1, 0) meets one weight and only a spikes: 1 MAC, 2 ACs."""
    own = count(spiking(), (1, 1), (1, 0))["policy"]
    assert (own["effective_macs"], own["effective_acs"], own["spikes_per_layer"]) == (1.5, 3, [2.5])


def test_twin_pays_every_product_of_its_layers():
    energy = count(spiking(hidden_sizes=(2,)), (1, 1), (-3, 0.5))
    twin = energy["matched_ann"]
    assert (twin["effective_macs"], twin["effective_acs"]) == (2 * 2 + 2 * 2, 0)
    assert twin["parameters"] == 2 * 2 + 2 + 2 * 2 + 2
    assert twin["energy_pj"] == pytest.approx(8 * 4.6)


def test_twin_has_the_same_layers_whatever_they_are():
    config = SpikingPolicy(hidden_sizes=(5, 7))
    box = spaces.Box(-1, 1, (3,), np.float32)
    policy = Policy(ActorCritic(OBS, box, config), OBS, box)
    assert count(policy, (1, 1))["matched_ann"]["effective_macs"] == 2 * 5 + 5 * 7 + 7 * 3


def test_ratio_is_own_energy_over_the_twins():
    energy = count(spiking(), (1, 1))
    assert energy["energy_ratio"] == pytest.approx((2 * 4.6 + 4 * 0.9) / (8 * 4.6))


def test_constants_are_used_and_told():
    energy = count(spiking(), (1, 1), constants=EnergyConstants(mac_pj=1.0, ac_pj=10.0))
    assert energy["policy"]["energy_pj"] == 2 + 40
    assert energy["energy_ratio"] == 42 / 8
    assert energy["constants_pj"] == {"mac": 1.0, "ac": 10.0}
    assert count(spiking(), (1, 1))["constants_pj"] == {"mac": 4.6, "ac": 0.9}


def test_ratio_is_not_known_where_the_twin_costs_nothing():
    energy = count(spiking(), (1, 1), constants=EnergyConstants(mac_pj=0.0))
    assert energy["energy_ratio"] is None


def test_ann_policy_costs_what_its_twin_costs():
    policy = Policy(ActorCritic(OBS, ACTIONS, AnnPolicy(hidden_sizes=(4, 3))), OBS, ACTIONS)
    energy = count(policy, (1, 1), (0, 2))
    assert energy["policy"]["effective_macs"] == (2 * 4 + 1 * 4) / 2 + 4 * 3 + 3 * 2
    assert energy["policy"] == energy["matched_ann"]
    assert energy["energy_ratio"] == 1


def test_carried_membranes_count_and_the_critics_do_not():
    """One step at (1, 1): b stays silent from rest, and spikes from a membrane of 0.9."""
    policy = spiking(carry_state=True, steps_per_observation=1)
    rest = policy.initial_state(1)
    assert rest.shape == (1, 2 + 2 + 2 + 1)  # actor: neurons and logits; critic: neurons and value
    assert count(policy, (1, 1), states=rest)["policy"]["effective_acs"] == 1
    rest[0, 1] = 0.9
    assert count(policy, (1, 1), states=rest)["policy"]["effective_acs"] == 1 + 2
    rest[0, 1], rest[0, 4:] = 0, 99
    assert count(policy, (1, 1), states=rest)["policy"]["effective_acs"] == 1


def test_shared_layers_count_with_the_value_they_also_give():
    """The third output, the value, has no weights here; the twin pays for it."""
    energy = count(spiking(share_layers=True), (1, 1))
    assert (energy["policy"]["effective_macs"], energy["policy"]["effective_acs"]) == (2, 4)
    assert energy["policy"]["dense_operations"] == 2 * 2 + 2 * (2 * 3)
    assert energy["matched_ann"]["effective_macs"] == 2 * 2 + 2 * 3


def test_discrete_observations_are_one_hot():
    space = spaces.Discrete(6)
    policy = Policy(ActorCritic(space, ACTIONS, AnnPolicy(hidden_sizes=(4,))), space, ACTIONS)
    energy = decision_energy(policy, np.array([3, 0]), policy.initial_state(2))
    assert energy["policy"]["effective_macs"] == 1 * 4 + 4 * 2


def test_episode_is_counted_from_what_the_recorder_kept():
    env = gym.make("CartPole-v1")
    network = ActorCritic(env.observation_space, env.action_space, AnnPolicy(hidden_sizes=(4,)))
    recorder = ObservationRecorder(Policy(network, env.observation_space, env.action_space), 2)
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        recorder.act(observation[None], recorder.initial_state(1))
    energy = decision_energy(recorder.policy, recorder.observations, recorder.states)
    assert (energy["decisions"], energy["policy"]["effective_macs"]) == (2, 4 * 4 + 4 * 2)


def test_the_strict_count_is_beside_the_other():
    """At (1, 1): 2 * 2 products, 2 * 4 updates; 4 ACs of spikes, 2 * 4 biases and 3 resets."""
    energy = count(spiking(), (1, 1))
    own, twin = energy["policy_strict"], energy["matched_ann_strict"]
    assert (own["macs"], own["acs"], own["membrane_macs"]) == (4 + 8, 4 + 8 + 3, 8)
    assert (twin["macs"], twin["acs"]) == (8, 4)
    assert energy["strict_ratio"] == pytest.approx(own["energy_pj"] / twin["energy_pj"])
    assert own["energy_pj"] > energy["policy"]["energy_pj"]


def test_the_strict_count_has_the_encoder_and_the_twin_has_none():
    """Receptive fields: of 2 numbers, 3 each. Changes: of 2 numbers, each of 10 thresholds. Both beside products and
    updates."""
    options = {"hidden_sizes": (2,), "steps_per_observation": 2}
    config = SpikingPolicy(encoder="population", encoder_neurons=3, **options)
    energy = count(Policy(ActorCritic(OBS, ACTIONS, config), OBS, ACTIONS), (1, 1))
    assert energy["policy_strict"]["macs"] == 2 * (6 * 2 + 2 + 2) + 2 + 6 * 11
    assert energy["matched_ann_strict"]["macs"] == 2 * 2 + 2 * 2
    config = SpikingPolicy(encoder="delta", **options)
    policy = Policy(ActorCritic(OBS, ACTIONS, config), OBS, ACTIONS)
    with torch.no_grad():
        policy.network.bodies[0].linears[0].weight.zero_()  # no spikes but the code's, which meet no weight
        policy.network.bodies[0].linears[0].bias.zero_()
    assert count(policy, (1, 1))["policy_strict"]["acs"] == 2 * (2 + 2) + 2 + 2 * 10


def test_what_rectifiers_save_is_in_the_count_of_a_policy_that_has_them():
    config = AnnPolicy(hidden_sizes=(16,), activation="relu")
    policy = Policy(ActorCritic(OBS, ACTIONS, config), OBS, ACTIONS)
    energy = count(policy, (1, 1), (-3, 0.5))
    assert energy["policy_strict"]["macs"] == energy["policy"]["effective_macs"] < 2 * 16 + 16 * 2
    assert energy["matched_ann_strict"]["macs"] == 2 * 16 + 16 * 2
    with pytest.raises(ValueError, match="activation is of fully connected networks"):
        AnnPolicy(activation="relu", conv_layers="small")
