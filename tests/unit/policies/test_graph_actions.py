"""A graph's outputs become the policy's greedy action, whatever the distribution of actions."""

import nir
import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.graphs import GraphPolicy, graph_of, policy_from_nir
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import SpikingPolicy
from synrl_ray.snn.nir import NIRError

OBS = spaces.Box(-1, 1, (3,))
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))
PARTS = spaces.Dict({"gear": spaces.Discrete(3), "speed": spaces.Box(-1, 1, (2,))})


def policy_of(action_space, observation_space=OBS, **settings):
    torch.manual_seed(0)
    config = SpikingPolicy(hidden_sizes=(16,), reset="zero", input_gain=4.0, **settings)
    return Policy(ActorCritic(observation_space, action_space, config), observation_space, action_space)


@pytest.mark.parametrize(
    ("action_space", "settings"),
    [
        (spaces.Discrete(3), {}),
        (spaces.MultiDiscrete([2, 3]), {}),
        (spaces.MultiBinary(4), {}),
        (BOX, {}),
        (BOX, {"state_dependent_std": True}),
        (BOX, {"action_distribution": "squashed_gaussian"}),
        (BOX, {"action_distribution": "beta"}),
    ],
)
@pytest.mark.parametrize("observation_space", [OBS, PARTS], ids=["vector", "parts"])
def test_the_greedy_action_follows_from_the_graph_alone(action_space, settings, observation_space):
    policy = policy_of(action_space, observation_space, **settings)
    graph = GraphPolicy(graph_of(policy))
    assert graph.observation_space == policy.observation_space
    policy.observation_space.seed(0)
    seen = [policy.observation_space.sample() for _ in range(50)]
    found, _ = graph.act(np.stack(seen), graph.initial_state(50))
    expected, _ = policy.act(np.stack(seen))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5 if isinstance(action_space, spaces.Box) else 0)
    assert len(np.unique(expected, axis=0)) > 1


@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian"])
def test_deviations_that_are_outputs_come_back_from_a_file(distribution, tmp_path):
    policy = policy_of(BOX, action_distribution=distribution, state_dependent_std=True)
    nir.write(str(tmp_path / "policy.nir"), graph_of(policy))
    graph = nir.read(str(tmp_path / "policy.nir"))
    back, acting = policy_from_nir(graph), GraphPolicy(graph)
    assert back.config.state_dependent_std
    assert back.config.action_distribution == distribution
    seen = np.stack([OBS.sample() for _ in range(50)])
    expected, _ = policy.act(seen)
    for found in (back.act(seen)[0], acting.act(seen, acting.initial_state(50))[0]):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    drawn = [
        each.act(seen, deterministic=False, generator=torch.Generator().manual_seed(0))[0] for each in (policy, back)
    ]
    np.testing.assert_allclose(*drawn, rtol=0, atol=1e-4)
    assert np.abs(drawn[0] - expected).max() > 0.1


def test_what_a_graph_says_of_its_deviations_is_yes_or_no():
    graph = graph_of(policy_of(BOX, state_dependent_std=True))
    graph.metadata["state_dependent_std"] = "perhaps"
    with pytest.raises(UserError, match=r"state_dependent_std must be true or false"):
        GraphPolicy(graph)


def test_a_mask_of_actions_is_held_by_no_graph():
    masked = spaces.Dict({"observations": OBS, "action_mask": spaces.MultiBinary(3)})
    with pytest.raises(NIRError, match=r"^no graph holds a mask of actions, and the policy's observations have one$"):
        graph_of(policy_of(spaces.Discrete(3), masked))


def test_a_graph_that_names_no_distribution_is_of_before_there_was_a_choice_and_a_wrong_name_is_refused():
    graph = graph_of(policy_of(BOX))
    del graph.metadata["action_distribution"]
    assert type(GraphPolicy(graph).distribution).__name__ == "Gaussian"
    graph.metadata["action_distribution"] = "cauchy"
    with pytest.raises(UserError, match="action_distribution must be 'gaussian', 'beta' or 'squashed_gaussian'"):
        GraphPolicy(graph)
    with pytest.raises(UserError, match="the graph has the action space Dict"):
        GraphPolicy(graph_of(policy_of(BOX)), OBS, spaces.Dict({"a": BOX}))
