import numpy as np
import pytest
import torch
from gymnasium import spaces

from synrl_ray.errors import UserError
from synrl_ray.policies.local.q_learning.agent import QTable
from synrl_ray.policies.local.q_learning.kernels import choose, update_all
from synrl_ray.settings.q_learning import QLearning

STATES, ACTIONS = spaces.Discrete(3), spaces.Discrete(2)
NO, YES = np.array([False]), np.array([True])


def table(**settings):
    return QTable(STATES, ACTIONS, QLearning(**settings))


def learn(agent, state, reward, following, *, terminated=NO, truncated=NO, valid=YES):
    """One transition of one environment; returns the action that was taken."""
    action = agent.choose(np.array([state]), 0, np.array([0.99]))
    agent.learn(np.array([reward]), terminated, truncated, valid, np.array([following]))
    return int(action[0])


def test_one_update_by_hand():
    agent = table(lr=0.5, gamma=0.9, epsilon_start=0.0, epsilon_end=0.0)
    agent.q.copy_(torch.tensor([[1.0, 0.0], [4.0, 2.0], [0.0, 0.0]]))
    assert learn(agent, 0, 2.0, 1) == 0
    # 1 + 0.5 (2 + 0.9 * 4 - 1) = 3.3
    np.testing.assert_allclose(agent.q.numpy(), [[3.3, 0.0], [4.0, 2.0], [0.0, 0.0]])
    assert agent.diagnostics()["td_error"] == pytest.approx(4.6)


@pytest.mark.parametrize(("end", "expected"), [("terminated", 2.0), ("truncated", 2.0 + 0.9 * 4.0)])
def test_truncated_episodes_are_bootstrapped_and_terminated_ones_are_not(end, expected):
    agent = table(lr=1.0, gamma=0.9, epsilon_start=0.0, epsilon_end=0.0)
    agent.q.copy_(torch.tensor([[1.0, 0.0], [4.0, 2.0], [0.0, 0.0]]))
    learn(agent, 0, 2.0, 1, **{end: YES})
    assert agent.q[0, 0].item() == pytest.approx(expected)


def test_a_reset_teaches_nothing():
    agent = table()
    learn(agent, 0, 5.0, 1, valid=NO)
    assert agent.q.abs().sum() == 0


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_skipped_and_counted(reward):
    agent = table()
    learn(agent, 0, reward, 1)
    assert agent.q.abs().sum() == 0
    assert agent.diagnostics()["skipped_rewards"] == 1
    assert agent.diagnostics()["skipped_rewards"] == 0, "counted once"


def test_environments_are_learned_one_after_another():
    q = np.zeros((2, 1))
    zeros = np.zeros(2, np.int64)
    total = update_all(q, zeros, zeros, np.array([1.0, 1.0]), np.array([True, True]), zeros, 0.5, 1.0)
    assert q[0, 0] == 0.75  # 0.5, then half of what is left
    assert total == 1.5


def test_random_actions_are_uniform_and_ties_are_broken_evenly():
    uniforms = (np.arange(10_000) + 0.5) / 10_000
    values = np.array([1.0, 3.0, 0.0, 3.0])
    counts = np.bincount([choose(values, 0.4, uniform) for uniform in uniforms], minlength=4) / len(uniforms)
    np.testing.assert_allclose(counts, [0.1, 0.1 + 0.3, 0.1, 0.1 + 0.3], atol=2e-4)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_schedules_may_end_at_either_limit(epsilon):
    values = np.array([0.0, 0.0])
    assert {choose(values, epsilon, uniform) for uniform in (0.0, 0.4, 0.6, 0.999999)} == {0, 1}


def test_schedules_are_linear_and_stay_at_their_ends():
    settings = QLearning(lr=1.0, lr_end=0.5, lr_steps=100, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=10)
    assert [settings.lr_at(steps) for steps in (0, 50, 100, 1000)] == [1.0, 0.75, 0.5, 0.5]
    assert [settings.epsilon_at(steps) for steps in (0, 5, 10, 1000)] == [1.0, 0.5, 0.0, 0.0]
    assert QLearning(lr=0.3).lr_at(10**9) == pytest.approx(0.3)


def test_greedy_takes_the_first_of_the_best():
    agent = table()
    agent.q.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0], [3.0, 0.0]]))
    assert agent.greedy(np.array([0, 1, 2, 1])).tolist() == [0, 1, 0, 1]


def test_acting_is_the_generators_alone():
    agent = table(epsilon_start=1.0)
    first, again = (
        agent.act(np.zeros(20, int), np.zeros(20, bool), 0, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert first.tolist() == again.tolist()
    assert set(first.tolist()) == {0, 1}


@pytest.mark.parametrize(
    "pair",
    [(spaces.Box(0, 1, (2,)), ACTIONS), (STATES, spaces.Box(0, 1, (2,))), (spaces.Discrete(3, start=1), ACTIONS)],
)
def test_other_spaces_are_refused(pair):
    with pytest.raises(UserError, match="Q-learning has no table for"):
        QTable(*pair, QLearning())
