"""The observations' normaliser in a NIR graph: folded into its first layer, so that it takes raw observations."""

import json
from dataclasses import replace

import gymnasium as gym
import nir
import numpy as np
import pytest
import torch

from synrl_ray.errors import UserError
from synrl_ray.kinds.evaluating import export_folder
from synrl_ray.policies import graphs
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import SpikingPolicy
from synrl_ray.snn import nir as snn_nir

CONFIG = SpikingPolicy(
    hidden_sizes=(16, 12), reset="zero", input_gain=8.0, steps_per_observation=6, normalise_observations=True
)
ALL = {"spikes": 1.0, "actions": 1.0, "played": 1.0}
CENTRE, SPREAD = [0.3, -0.2, 0.05, 0.4], [0.05, 0.4, 0.02, 0.7]  # about what CartPole's first steps do


def save(folder, centre=CENTRE, spread=SPREAD, environment="CartPole-v1", config=CONFIG):
    torch.manual_seed(0)
    env = gym.make(environment)
    network = ActorCritic(env.observation_space, env.action_space, config)
    size = len(network.normaliser.mean)
    signs = torch.tensor([[-1.0] * size, [1.0] * size])
    network.normaliser.update(torch.tensor(centre[:size]) + signs * torch.tensor(spread[:size]))
    policy = Policy(network, env.observation_space, env.action_space)
    policy.save(folder, environment={"id": environment, "kwargs": {}})
    return policy


def raw_observations(number=500):
    return torch.tensor(CENTRE) + torch.tensor(SPREAD) * torch.randn(
        number, 4, generator=torch.Generator().manual_seed(1)
    )


def test_the_first_layer_of_the_graph_is_folded(tmp_path):
    policy = save(tmp_path / "run")
    outcome = export_folder(tmp_path / "run", tmp_path / "actor.nir", num_observations=100)
    assert (outcome["nir"], outcome["snntorch"], outcome["normaliser"]) == (ALL, ALL, "in the graph")
    first = nir.read(str(tmp_path / "actor.nir")).nodes["linear_0"]
    linear = policy.network.bodies[0].linears[0]
    weight, bias = (tensor.detach().double().numpy() for tensor in (linear.weight, linear.bias))
    deviation = np.sqrt(np.square(SPREAD) + 1e-8)
    np.testing.assert_allclose(first.weight, weight / deviation, rtol=1e-5)
    np.testing.assert_allclose(first.bias, bias - (weight / deviation) @ np.array(CENTRE), rtol=1e-4, atol=1e-5)


def test_the_graph_alone_spikes_from_raw_observations_as_the_policy_does(tmp_path):
    network = save(tmp_path / "run").network.double()
    export_folder(tmp_path / "run", tmp_path / "actor.nir", num_observations=50)
    raw = raw_observations().double()
    run = snn_nir.GraphRun(nir.read(str(tmp_path / "actor.nir")))
    spikes, potentials, _ = snn_nir.run(run, raw.unsqueeze(0), hold=6)
    outputs, _, expected = network.bodies[0].forward_with_spikes(network.normaliser(raw).unsqueeze(0))
    assert all(0.01 < layer.mean() < 0.99 for layer in expected)
    for found, layer in zip(spikes, expected, strict=True):
        assert torch.equal(found, layer > 0)
    torch.testing.assert_close(potentials[-1], outputs[0], rtol=1e-6, atol=1e-5)


def test_a_graph_without_the_normaliser_is_refused(tmp_path, monkeypatch):
    save(tmp_path / "run")
    fold = graphs.to_nir
    monkeypatch.setattr(graphs, "to_nir", lambda net, scaling, number: fold(net, None, number))
    with pytest.raises(UserError, match=r"does not do the same in NIR's equations: 0\.\d+ of the spikes agree"):
        export_folder(tmp_path / "run", tmp_path / "actor.nir", num_observations=100)
    assert not (tmp_path / "actor.nir").exists()


@pytest.mark.parametrize("carried", [{}, {"carry_state": True, "frame_stack": 2}], ids=str)
def test_a_bound_that_observations_reach_is_kept_before_the_graph(tmp_path, carried):
    far = [1e-4, 0.4, 0.02, 0.7]  # the cart's place is far outside of what was seen
    save(tmp_path / "one", spread=far, config=replace(CONFIG, **carried))
    outcome = export_folder(tmp_path / "one", tmp_path / "one.nir", num_observations=100)
    assert (outcome["nir"], outcome["snntorch"], outcome["normaliser"]) == (ALL, ALL, "before the graph")
    metadata = nir.read(str(tmp_path / "one.nir")).metadata
    assert json.loads(metadata["preparation"])[0] == {"do": "normalise", "bound": 10.0}
    np.testing.assert_allclose(metadata["deviation"], np.sqrt(np.square(far) + 1e-8), rtol=1e-4)


def test_a_policy_that_has_measured_nothing_yet_and_another_environment(tmp_path):
    torch.manual_seed(0)
    env = gym.make("CartPole-v1")
    network = ActorCritic(env.observation_space, env.action_space, CONFIG)
    Policy(network, env.observation_space, env.action_space).save(
        tmp_path / "new", environment={"id": "CartPole-v1", "kwargs": {}}
    )
    assert export_folder(tmp_path / "new", tmp_path / "new.nir", num_observations=50)["nir"] == ALL
    save(tmp_path / "other", centre=[0.1, 0.2, -1.0], spread=[0.7, 0.6, 3.0], environment="Pendulum-v1")
    outcome = export_folder(tmp_path / "other", tmp_path / "other.nir", num_observations=200)
    assert (outcome["nir"], outcome["normaliser"]) == (ALL, "in the graph")
