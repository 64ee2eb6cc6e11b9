"""A policy that draws its actions does so from numbers of its own."""

import gymnasium as gym
import numpy as np
import torch

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.sampled import SampledPolicy
from synrl_ray.settings.policies import AnnPolicy


def undecided_policy():
    """Its two actions are nearly as likely."""
    torch.manual_seed(0)
    space, actions = gym.spaces.Box(-1, 1, (4,), np.float32), gym.spaces.Discrete(2)
    return Policy(ActorCritic(space, actions, AnnPolicy(hidden_sizes=(8,))), space, actions)


def drawn(policy, seed, steps=5):
    sampled = SampledPolicy(policy, seed)
    state = sampled.initial_state(16)
    return np.concatenate([sampled.act(np.zeros((16, 4), np.float32), state)[0] for _ in range(steps)])


def test_the_same_seed_draws_the_same_actions_whatever_others_draw():
    policy = undecided_policy()
    first = drawn(policy, 7)
    torch.rand(100)
    assert drawn(policy, 7).tolist() == first.tolist()
    assert drawn(policy, 8).tolist() != first.tolist()
    assert set(first.tolist()) == {0, 1}


def test_when_asked_for_the_likeliest_action_it_takes_that():
    sampled = SampledPolicy(undecided_policy(), 7)
    actions, _ = sampled.act(np.zeros((16, 4), np.float32), sampled.initial_state(16), deterministic=True)
    assert len(set(actions.tolist())) == 1
