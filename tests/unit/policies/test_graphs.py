"""Graphs as policies: what was exported comes back and acts the same; what does not fit is refused."""

import gymnasium as gym
import nir
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.graphs import GraphPolicy, graph_of, policy_from_nir
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn import LIF
from synrl_ray.snn.nir import NIRError
from synrl_ray.snn.nir.preparation import Preparation

VECTORS, IMAGES = spaces.Box(-3, 3, (4,), np.float32), spaces.Box(0, 255, (12, 12, 3), np.uint8)
ACTIONS = spaces.Discrete(3)
BASE = {"hidden_sizes": (8, 6), "input_gain": 4.0, "hidden_gain": 3.0, "threshold": 0.5}
CONV = {**BASE, "hidden_sizes": (8,), "conv_layers": ((4, 4, 2),)}
CASES = {
    "from rest": (VECTORS, ACTIONS, BASE),
    "carried, no reset": (VECTORS, ACTIONS, {**BASE, "carry_state": True, "reset": "none", "learn_beta": True}),
    "synaptic": (VECTORS, ACTIONS, {**BASE, "neuron": "synaptic", "carry_state": True, "readout": "max"}),
    "normalised stack": (VECTORS, ACTIONS, {**BASE, "normalise_observations": True, "frame_stack": 2}),
    "normalised": (VECTORS, ACTIONS, {**BASE, "normalise_observations": True}),
    "population": (VECTORS, ACTIONS, {**BASE, "encoder": "population", "encoder_neurons": 3}),
    "delta": (VECTORS, ACTIONS, {**BASE, "encoder": "delta", "carry_state": True}),
    "latency": (VECTORS, ACTIONS, {**BASE, "encoder": "latency"}),
    "Box actions": (VECTORS, spaces.Box(-2, 2, (2,), np.float32), BASE),
    "an index": (spaces.Discrete(5), ACTIONS, BASE),
    "images": (IMAGES, ACTIONS, {**CONV, "carry_state": True}),
    "normalised images": (IMAGES, ACTIONS, {**CONV, "normalise_observations": True, "frame_stack": 2}),
}


def made(name):
    torch.manual_seed(0)
    observation_space, action_space, settings = CASES[name]
    observation_space.seed(0)
    network = ActorCritic(observation_space, action_space, SpikingPolicy(**settings))
    network.measure(torch.from_numpy(samples(observation_space, 50)))
    return Policy(network, observation_space, action_space)


def samples(space, number):
    return np.stack([space.sample() for _ in range(number)])


@pytest.mark.parametrize("name", CASES)
def test_a_policy_comes_back_from_its_graph(name, tmp_path):
    policy = made(name)
    nir.write(str(tmp_path / "policy.nir"), graph_of(policy))
    graph = nir.read(str(tmp_path / "policy.nir"))
    policy_from_nir(graph).save(tmp_path)
    back, acting = load_network_policy(tmp_path), GraphPolicy(graph)
    states = [each.initial_state(6) for each in (policy, back, acting)]
    for observations in samples(policy.observation_space, 60).reshape(10, 6, *policy.observation_space.shape):
        found = []
        for i, each in enumerate((policy, back, acting)):
            actions, states[i] = each.act(observations, states[i])
            found.append(actions)
        for actions in found[1:]:
            np.testing.assert_allclose(actions, found[0], atol=1e-4)
    assert back.config.carry_state == policy.config.carry_state


def test_a_graph_from_elsewhere_needs_its_spaces():
    one, four = np.ones(2), np.full(2, 4e-4)
    graph = nir.NIRGraph.from_list(
        nir.Linear(np.eye(2, 4)),
        nir.LIF(tau=four, r=4 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one),
        nir.Affine(np.eye(3, 2), np.zeros(3)),
        nir.LI(tau=np.full(3, 1e-4), r=np.ones(3), v_leak=np.zeros(3)),
    )
    graph.metadata = {"steps_per_observation": 2}
    with pytest.raises(NIRError, match="does not say its observation_space: pass observation_space"):
        policy_from_nir(graph)
    policy = policy_from_nir(graph, VECTORS, ACTIONS)
    assert policy.config == SpikingPolicy(
        hidden_sizes=(2,), steps_per_observation=2, reset="zero", carry_state=True, readout_beta=0.0
    )
    assert policy.act(np.array([0, 2, 0, 0], np.float32))[0] == 1
    with pytest.raises(NIRError, match="the graph's actor is none of a policy on these spaces: size mismatch"):
        policy_from_nir(graph, VECTORS, spaces.Discrete(5))


def test_what_is_no_policy_of_ours():
    policy = made("from rest")
    policy.network.bodies[0].neurons[0] = LIF(torch.rand(8), reset="subtract", hold=4)
    with pytest.raises(NIRError, match=r"none of a policy on these spaces: size mismatch for neurons\.0\.beta"):
        policy_from_nir(graph_of(policy))
    policy.network.bodies[0].neurons[0] = LIF(reset="zero", hold=4)
    with pytest.raises(NIRError, match="layers have different neurons"):
        policy_from_nir(graph_of(policy))
    ann = Policy(ActorCritic(VECTORS, ACTIONS, AnnPolicy()), VECTORS, ACTIONS)
    with pytest.raises(NIRError, match="the policy does not spike"):
        graph_of(ann)
    acting = GraphPolicy(graph_of(made("from rest")))
    with pytest.raises(ValueError, match="it draws none"):
        acting.act(samples(VECTORS, 2), acting.initial_state(2), deterministic=False)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"preparation": '[{"do": "whiten"}]'}, "prepared by 'whiten', unknown here"),
        ({"preparation": "[{}]"}, "does not say in a known way"),
        ({"preparation": "no list"}, "does not say in a known way"),
        ({"preparation": '[{"do": "normalise", "bound": 1}]'}, "does not say in a known way"),
    ],
)
def test_a_preparation_that_is_not_known(metadata, message):
    with pytest.raises(NIRError, match=message):
        Preparation.from_metadata({"observation_shape": np.array([2]), **metadata})


def test_graphs_act_in_gymnasium():
    env = gym.make("CartPole-v1")
    config = SpikingPolicy(hidden_sizes=(8,), carry_state=True, reset="subtract")
    policy = Policy(
        ActorCritic(env.observation_space, env.action_space, config), env.observation_space, env.action_space
    )
    acting = GraphPolicy(graph_of(policy))
    observation, _ = env.reset(seed=0)
    action, _ = acting.act(observation[None], acting.initial_state(1))
    assert env.action_space.contains(int(action[0]))
