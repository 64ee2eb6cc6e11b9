"""A graph's outputs become the policy's greedy action, whatever the distribution of actions."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.graphs import GraphPolicy, graph_of
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
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if isinstance(action_space, spaces.Box) else 0)
    assert len(np.unique(expected, axis=0)) > 1


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
