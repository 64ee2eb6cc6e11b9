"""What users' networks receive in its own shape is neither coded nor stacked unless it is a vector."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.envs.flat import flattened
from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.loading import load_policy
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.policies import SpikingPolicy

NETWORKS = """
import torch
from torch import nn


class Reshapes(nn.Module):
    state_size = 0

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.outputs = nn.Linear(torch.Size(shape).numel(), num_outputs)

    def forward(self, inputs, state):
        return self.outputs(inputs.reshape(len(inputs), -1)), state
"""
OBS, ACTIONS = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "shape_nets.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("shape_nets", None)


@pytest.mark.parametrize(
    ("space", "settings", "other"),
    [
        (spaces.Box(0, 1, (4, 5)), {"encoder": "population"}, "encoder=current"),
        (spaces.Box(0, 1, (4, 5)), {"encoder": "delta"}, "encoder=current"),
        (spaces.Box(0, 255, (12, 10, 3), np.uint8), {"encoder": "population"}, "encoder=current"),
        (spaces.Box(0, 1, ()), {"encoder": "delta"}, "encoder=current"),
        (spaces.Box(0, 1, ()), {"frame_stack": 3}, "frame_stack=1"),
    ],
)
def test_codes_and_stacks_are_for_vectors(space, settings, other):
    config = SpikingPolicy(network="shape_nets:Reshapes", **settings)
    (setting,) = [f"{name}={value}" for name, value in settings.items()]
    with pytest.raises(UserError) as refused:
        check_spaces(space, ACTIONS, "Odd-v0", config)
    assert str(refused.value) == (
        f"Odd-v0 has the observation space {space}, which network=shape_nets:Reshapes receives in that shape, and "
        f"{setting} is not for it — set spiking.{other}, or wrap the environment so that it gives vectors"
    )
    for critic in ("spiking", "ann"):
        served = replace(config, encoder="current", frame_stack=1, critic=critic)
        check_spaces(space, ACTIONS, "Odd-v0", served)
        given = torch.as_tensor(np.stack([space.sample(), space.sample()])).unsqueeze(0)
        assert ActorCritic(space, ACTIONS, served)(given)[1].shape == (1, 2)


def test_convolutions_of_a_plain_critic_are_held_to_the_images():
    config = SpikingPolicy(network="shape_nets:Reshapes", conv_layers="nature", critic="ann")
    with pytest.raises(UserError, match="no image"):
        check_spaces(OBS, ACTIONS, config=config)
    with pytest.raises(UserError, match="hidden_sizes"):
        check_spaces(spaces.Box(0, 255, (84, 84, 3), np.uint8), ACTIONS, config=config)


def test_spikes_that_come_several_at_once_are_accumulated():
    """A number of 0.6 is one spike at a threshold of 0.5 and one of 1.6 is three; each meets four weights."""
    options = {"encoder": "delta", "encoder_threshold": 0.5, "steps_per_observation": 1}
    config = SpikingPolicy(network="shape_nets:Reshapes", **options)
    wide = spaces.Box(-9, 9, (3,), np.float32)
    policy = Policy(ActorCritic(wide, ACTIONS, config), wide, ACTIONS)
    for value, spikes in ((0.6, 1), (1.6, 3)):
        seen = np.full((1, 3), value, np.float32)
        counted = decision_energy(policy, seen, policy.initial_state(1))["policy"]
        assert (counted["effective_macs"], counted["effective_acs"]) == (0, 3 * spikes * 4)


@pytest.mark.parametrize("encoder", ["current", "population", "delta"])
@pytest.mark.parametrize("frame_stack", [1, 2])
@pytest.mark.parametrize(
    "space",
    [OBS, spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.Dict({"a": spaces.Box(0, 1, (2, 2))})],
    ids=str,
)
def test_all_codes_and_stacks_of_vectors_are_computed(space, encoder, frame_stack):
    config = SpikingPolicy(network="shape_nets:Reshapes", encoder=encoder, frame_stack=frame_stack)
    check_spaces(space, ACTIONS, config=config)
    network, flat = ActorCritic(space, ACTIONS, config), flattened(space)
    observation = torch.as_tensor(np.asarray(flat.sample()))
    inputs, _, _ = network(observation.expand(1, 2, *(flat.shape or ())))
    assert inputs.shape == (1, 2, 4)


def test_a_file_that_codes_what_is_no_vector_is_damaged(tmp_path):
    space = spaces.Box(0, 1, (4, 5))
    policy = Policy(ActorCritic(space, ACTIONS, SpikingPolicy(network="shape_nets:Reshapes")), space, ACTIONS)
    (tmp_path / "run").mkdir()
    policy.save(tmp_path / "run")
    file = tmp_path / "run" / "policy.json"
    described = json.loads(file.read_text())
    described["policy"]["encoder"] = "delta"
    file.write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"policy.json is damaged .*and encoder=delta is not for it"):
        load_policy(tmp_path / "run", trust=True)
