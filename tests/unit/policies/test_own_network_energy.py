"""Operations of users' networks with convolutions, and of layers that are called in unusual ways."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import SpikingPolicy

ACTIONS = spaces.Discrete(4)


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
