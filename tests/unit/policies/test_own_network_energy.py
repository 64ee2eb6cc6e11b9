"""Operations of users' networks with convolutions, and of layers that are called in unusual ways."""

import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import SpikingPolicy

NETWORKS = """
import torch
from torch import nn


class OnImages(nn.Module):
    state_size = 0

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 2, 3)
        self.outputs = nn.Linear(2 * (shape[1] - 2) * (shape[2] - 2), num_outputs)

    def forward(self, inputs, state):
        return self.outputs((self.conv(inputs) > 0).float().flatten(1)), state


class TwoSizes(nn.Module):
    state_size = 0

    def __init__(self, shape, num_outputs, settings):
        super().__init__()
        self.conv, self.outputs = nn.Conv2d(shape[0], shape[0], 3), nn.Linear(shape[0], num_outputs)

    def forward(self, inputs, state):
        maps = self.conv(input=self.conv(inputs)) + self.conv(torch.stack([self.conv(image) for image in inputs]))
        return self.outputs(input=maps.mean((2, 3))), state
"""
ACTIONS = spaces.Discrete(4)


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "image_nets.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("image_nets", None)


def image_policy(name):
    space = spaces.Box(0, 255, (3, 12, 10), np.uint8)
    network = ActorCritic(space, ACTIONS, SpikingPolicy(network=name, steps_per_observation=2))
    images = np.random.default_rng(0).integers(1, 256, (5, 3, 12, 10), np.uint8)
    return Policy(network, space, ACTIONS), images


def test_operations_of_convolutions_are_counted():
    policy, images = image_policy("image_nets:OnImages")
    actor = policy.network.bodies[0]
    counted = decision_energy(policy, images, np.zeros((5, 0), np.float32))
    _, _, (spikes,) = actor.forward_with_spikes(torch.from_numpy(images)[None] / 255)
    assert spikes.shape == (2, 5, 2 * 10 * 8)
    products, fired = 2 * 10 * 8 * 27, spikes.sum().item() / 5
    assert counted["policy"]["effective_macs"] == 2 * products
    assert counted["policy"]["effective_acs"] == pytest.approx(4 * fired)
    assert counted["policy_strict"]["macs"] == 2 * products
    assert counted["policy_strict"]["acs"] == pytest.approx(4 * fired + 2 * (2 * 10 * 8 + 4)), "and biases"
    assert fired > 0


def test_a_layer_is_counted_by_keyword_for_several_sizes_and_for_images_without_a_batch():
    policy, images = image_policy("image_nets:TwoSizes")
    counted = decision_energy(policy, images, np.zeros((5, 0), np.float32))["policy"]
    assert counted["dense_operations"] == 2 * (2 * 3 * 27 * (10 * 8 + 8 * 6) + 3 * 4)
