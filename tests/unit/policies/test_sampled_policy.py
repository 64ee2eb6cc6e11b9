"""A policy that draws its actions does so from numbers of its own; one that is zeroed remembers nothing."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from synrl_ray.experiment import Environment
from synrl_ray.kinds.acting import Judging
from synrl_ray.kinds.control.result import judge
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.sampled import SampledPolicy, ZeroedPolicy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy


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


SPACE, ACTIONS = gym.spaces.Box(-1, 1, (4,), np.float32), gym.spaces.Discrete(2)
CARRIED = SpikingPolicy(hidden_sizes=(32,), steps_per_observation=1, carry_state=True, firing_rate=0.3)


def test_a_zeroed_policy_acts_at_every_decision_as_at_the_first():
    torch.manual_seed(0)
    policy = Policy(ActorCritic(SPACE, ACTIONS, CARRIED), SPACE, ACTIONS)
    zeroed = ZeroedPolicy(policy)
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 6, 4)).astype(np.float32)
    state, differs = zeroed.initial_state(6), False
    own = policy.initial_state(6)
    for row in observations:
        own = policy.act(row, own)[1]
        state = zeroed.act(row, state)[1]
        first = policy.act(row, policy.initial_state(6))
        assert np.array_equal(zeroed.act(row, state)[0], first[0])
        assert np.array_equal(state, first[1])
        differs = differs or not np.array_equal(own, state)
    assert differs


@pytest.mark.parametrize(
    ("settings", "carries"),
    [(CARRIED, True), (SpikingPolicy(hidden_sizes=(8,)), False), (AnnPolicy(frame_stack=2), True)],
)
def test_a_policy_with_a_state_is_judged_without_it_as_well(settings, carries):
    torch.manual_seed(0)
    space = gym.make("CartPole-v1").observation_space
    policy = Policy(ActorCritic(space, ACTIONS, settings), space, ACTIONS)
    found = judge(policy, Judging(Environment(id="CartPole-v1"), episodes=3, first_seed=50), None, draws=False)
    assert (found.zeroed is not None) == carries == ("zeroed_return_iqm" in found.figures)
    assert found.zeroed is None or found.zeroed.seeds == found.greedy.seeds
