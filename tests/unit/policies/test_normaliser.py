"""Running mean and variance of observations, inside the policy."""

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from synrl_ray.errors import UserError
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.normaliser import ObservationNormaliser
from synrl_ray.policies.policy import Policy, load_network_policy
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (3,), np.float32)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_parts_give_the_moments_of_the_whole(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = [5 + 3 * torch.randn(size, 3, generator=generator) for size in sizes]
    normaliser = ObservationNormaliser((3,))
    for part in parts:
        normaliser.update(part)
    whole = torch.cat(parts)
    assert float(normaliser.count) == len(whole)
    if len(whole):
        torch.testing.assert_close(normaliser.mean, whole.mean(0), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(normaliser.variance, whole.var(0, unbiased=False), atol=1e-4, rtol=1e-4)


def test_outliers_are_bounded_and_constants_harmless():
    normaliser = ObservationNormaliser((2,))
    normaliser.update(torch.tensor([[0.0, 7.0], [2.0, 7.0]]))
    assert normaliser(torch.tensor([[1e6, 7.0]])).tolist() == [[10.0, 0.0]]
    assert torch.isfinite(normaliser(torch.tensor([[1.0, 8.0]]))).all()


@pytest.mark.parametrize("config", [SpikingPolicy(normalise_observations=True), AnnPolicy(normalise_observations=True)])
def test_moments_are_saved_with_the_policy(config, tmp_path):
    network = ActorCritic(OBSERVATIONS, spaces.Discrete(2), config)
    network.normaliser.update(torch.randn(50, 3) * 100)
    Policy(network, OBSERVATIONS, spaces.Discrete(2)).save(tmp_path)
    again = load_network_policy(tmp_path).network
    observations = torch.randn(1, 4, 3) * 100
    torch.testing.assert_close(again(observations)[0], network(observations)[0])
    assert float(again.normaliser.count) == 50


@pytest.mark.parametrize("policy", [SpikingPolicy(carry_state=True, steps_per_observation=1), AnnPolicy(frame_stack=2)])
def test_each_pixel_of_an_image_has_a_spread_of_its_own(policy):
    config = dataclasses.replace(policy, conv_layers=((2, 3, 2),), hidden_sizes=(4,), normalise_observations=True)
    space = spaces.Box(0, 255, (1, 8, 8), np.uint8)
    check_spaces(space, spaces.Discrete(2), "it", config)
    network = ActorCritic(space, spaces.Discrete(2), config)
    frames = torch.full((50, 1, 8, 8), 200, dtype=torch.uint8)
    frames[:25, 0, 3, 4] = 100  # the one that moves
    network.measure(frames)
    scaled = network.normaliser(network.encoder(frames))
    assert scaled[:, 0, 3, 4].unique().tolist() == pytest.approx([-1.0, 1.0], abs=1e-3)
    assert scaled.abs().sum().item() == pytest.approx(50, rel=1e-2), "what never changes is zero"


def test_what_is_neither_a_vector_of_floats_nor_an_image_is_refused():
    for space in (spaces.Discrete(4), spaces.Box(0, 255, (1, 8, 8), np.uint8)):
        with pytest.raises(UserError, match=r"is not normalised — set ann\.normalise_observations=false"):
            check_spaces(space, spaces.Discrete(2), "it", AnnPolicy(normalise_observations=True))
