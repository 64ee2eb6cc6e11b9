"""Exact values against tabular_values, closed forms and sampled returns; what shaping may and may not change."""

import dataclasses

import numpy as np
import pytest
import torch
from episodes_in_gridworlds import play

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_layout import random_layout
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.gridworld_values import (
    optimal_action_values,
    optimal_values,
    policy_state_values,
    policy_values,
    regret,
)
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_values import exact_value, optimal_state_values, optimal_value, state_values
from synrl_ray.errors import UserError

SHAPED = GridworldRewards(1.0, 0.02, shaping_scale=6.0, shaping_discount=0.95)


def random_grids(rewards=None, horizon=30, starts=None, num_tasks=5):
    rng = np.random.default_rng(8)
    goals = [(int(rng.integers(4)), int(rng.integers(1, 5))) for _ in range(num_tasks)]
    free = np.stack([random_layout(4, 5, 5, rng, {"goal": goal, "start": (0, 0)}) for goal in goals])
    return Gridworlds.from_cells(free, goals, starts, rewards=rewards, horizon=horizon)


def random_policy(grids, seed=0):
    logits = torch.randn(grids.reward.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.softmax(-1)


def with_chance_of_the_end(table, discount):
    """A discount as the chance, at each step, that the episode goes on."""
    ends = np.stack([table.terminated[..., 0], np.ones_like(table.terminated[..., 0])], axis=-1)
    both = {name: np.repeat(getattr(table, name), 2, axis=-1) for name in ("next_state", "reward")}
    probability = np.broadcast_to([discount, 1 - discount], ends.shape)
    return dataclasses.replace(table, probability=probability, terminated=ends, **both)


@pytest.mark.parametrize("horizon", [1, 4, 30])
@pytest.mark.parametrize("starts", [None, [(0, 0)] * 5], ids=["random starts", "fixed starts"])
@pytest.mark.parametrize("rewards", [None, SHAPED], ids=["sparse", "shaped"])
def test_equal_to_tabular_values_of_each_task(rewards, starts, horizon):
    grids = random_grids(rewards, horizon, starts)
    policy = random_policy(grids)
    best, values = optimal_values(grids, reward=grids.reward), policy_values(grids, policy, reward=grids.reward)
    best_states = optimal_action_values(grids, reward=grids.reward).amax(-1)
    states = policy_state_values(grids, policy, reward=grids.reward)
    for task in range(grids.num_tasks):
        table = TransitionTable.from_env(grids.single(task))
        assert float(best[task]) == pytest.approx(optimal_value(table), abs=1e-12)
        assert float(values[task]) == pytest.approx(exact_value(table, policy[task].numpy()), abs=1e-12)
        np.testing.assert_allclose(best_states[task], optimal_state_values(table), atol=1e-12)
        np.testing.assert_allclose(states[task], state_values(table, policy[task].numpy()), atol=1e-12)


def test_discounted_values_are_equal_to_tabular_values_where_an_episode_may_end_by_chance():
    grids = random_grids()
    policy = random_policy(grids)
    best, values = optimal_values(grids, 0.9), policy_values(grids, policy, 0.9)
    for task in range(grids.num_tasks):
        table = with_chance_of_the_end(TransitionTable.from_env(grids.single(task)), 0.9)
        assert float(best[task]) == pytest.approx(optimal_value(table), abs=1e-12)
        assert float(values[task]) == pytest.approx(exact_value(table, policy[task].numpy()), abs=1e-12)


def test_the_optimum_is_that_of_the_shortest_path():
    grids = Gridworlds.from_cells(np.ones((4, 5)), [(3, 4), (0, 2)], [(0, 0), (0, 0)], horizon=20)
    assert optimal_values(grids).tolist() == pytest.approx([1 - 0.07, 1 - 0.02])
    costs = [sum(0.01 * 0.9**t for t in range(moves)) for moves in (7, 2)]
    assert optimal_values(grids, 0.9).tolist() == pytest.approx([0.9**6 - costs[0], 0.9 - costs[1]])
    out_of_reach = dataclasses.replace(grids, horizon=6)
    assert optimal_values(out_of_reach).tolist() == pytest.approx([-0.06, 1 - 0.02])


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_the_mean_return_of_many_episodes_is_the_exact_value(discount):
    grids = random_grids(SHAPED)
    policy = random_policy(grids)

    def logits(seen):
        return torch.einsum("mes,msa->mea", seen.double(), policy.log())

    rewards = play(grids, logits, 1500, seed=0).task_rewards.double()
    returns = torch.tensordot(discount ** torch.arange(len(rewards), dtype=torch.float64), rewards, dims=1)
    error = returns.mean(1) - policy_values(grids, policy, discount)
    assert (error.abs() < 4 * returns.std(1) / 1500**0.5).all()
    assert float(returns.std(1).min()) > 0.05


@pytest.mark.parametrize("discount", [1.0, 0.95])
def test_shaping_by_a_potential_changes_no_best_action_and_moves_values_by_the_potential(discount):
    rewards = GridworldRewards(1.0, 0.02, shaping_scale=2.0, shaping_discount=discount)
    grids = random_grids(rewards)
    plain = optimal_action_values(grids, discount)
    shaped = optimal_action_values(grids, discount, grids.reward)
    distance = torch.stack([torch.from_numpy(grids.single(task).tables.distance[0]) for task in range(5)])
    away = distance > 0
    potential = -distance / 2.0
    np.testing.assert_allclose(shaped[away], (plain - potential[..., None])[away], atol=1e-12)

    greedy = torch.nn.functional.one_hot(shaped.argmax(-1), 4).double()
    assert regret(grids, greedy, discount).tolist() == pytest.approx([0] * 5, abs=1e-12)


def test_within_any_horizon_the_best_actions_with_shaping_are_best_without():
    for horizon in range(1, 12):
        grids = random_grids(GridworldRewards(1.0, 0.02, shaping_scale=2.0), horizon)
        shaped = optimal_action_values(grids, reward=grids.reward)
        chosen = optimal_action_values(grids).gather(-1, shaped.argmax(-1, keepdim=True)).squeeze(-1)
        np.testing.assert_allclose(chosen, optimal_action_values(grids).amax(-1), atol=1e-12)


def test_a_bonus_for_moves_towards_the_goal_that_is_no_potential_changes_the_optimum():
    grids = random_grids()
    distance = torch.stack([torch.from_numpy(grids.single(task).tables.distance[0]) for task in range(5)])
    ahead = distance.gather(1, grids.next_state.flatten(1)).view_as(grids.next_state)
    bonus = 0.5 * (ahead < distance[..., None])  # moving away is free, so going to and fro pays
    learned = optimal_action_values(grids, reward=grids.task_reward + bonus)
    greedy = torch.nn.functional.one_hot(learned.argmax(-1), 4).double()
    assert (regret(grids, greedy) > 0.5).all()
    assert (optimal_values(grids, reward=grids.task_reward + bonus) > 5).all()


def test_the_regret_is_of_the_task_itself_and_of_the_best_policy_zero():
    for rewards in (GridworldRewards(1.0, 0.02), SHAPED):
        grids = random_grids(rewards)
        best = torch.nn.functional.one_hot(optimal_action_values(grids).argmax(-1), 4).double()
        assert regret(grids, best).tolist() == pytest.approx([0] * 5, abs=1e-12)
        uniform = torch.full_like(grids.reward, 0.25)
        assert (regret(grids, uniform) > 0.2).all()
        assert torch.equal(regret(grids, uniform), optimal_values(grids) - policy_values(grids, uniform))


def test_a_task_has_the_same_value_whatever_is_beside_it():
    grids = random_grids()
    policy = random_policy(grids)
    alone = Gridworlds.from_cells(grids.free[2:3].numpy(), [divmod(int(grids.goals[2]), 5)], horizon=30)
    assert policy_values(alone, policy[2:3]).item() == pytest.approx(policy_values(grids, policy)[2].item(), abs=1e-14)
    assert optimal_values(alone).item() == pytest.approx(optimal_values(grids)[2].item(), abs=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda grids: optimal_values(grids, 0.0), r"discount=0.0 is no discount — choose one in \(0, 1\]"),
        (lambda grids: optimal_values(grids, reward=torch.zeros(5, 20)), r"rewards have the shape \[5, 20\]"),
        (lambda grids: policy_values(grids, torch.zeros(5, 20)), r"actions have the shape \[5, 20\]"),
        (lambda grids: policy_values(grids, torch.zeros(5, 20, 4)), "probabilities of actions are no distributions"),
        (lambda grids: policy_values(grids, torch.tensor([2.0, -1, 0, 0]).expand(5, 20, 4)), "are no distributions"),
    ],
)
def test_bad_questions_are_named_in_one_line(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(random_grids())
    assert "\n" not in str(caught.value)
