"""Rollouts of batched gridworlds: masks, log-probabilities, determinism, what policies may give."""

import numpy as np
import pytest
import torch

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_episodes import play
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.errors import NonFiniteError, UserError

EAST = 1


def grids(**kwargs):
    rewards = GridworldRewards(1.0, 0.1, shaping_scale=5.0, shaping_discount=0.9)
    return Gridworlds.from_cells(np.ones((3, 4)), [(0, 3), (2, 0)], horizon=15, rewards=rewards, **kwargs)


def uniform(seen):
    return torch.zeros(*seen.shape[:2], 4)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_an_episode_by_hand():
    tasks = Gridworlds.from_cells(np.ones((2, 3)), [(0, 2), (1, 0)], [(0, 0), (0, 0)], horizon=4)
    played = play(tasks, lambda seen: torch.full(seen.shape[:2], EAST), num_episodes=1)
    assert played.observations.argmax(-1).squeeze(-1).T.tolist() == [[0, 1, 2, 2], [0, 1, 2, 2]]
    assert played.valid.squeeze(-1).T.tolist() == [[True, True, False, False], [True] * 4]
    assert played.terminated.squeeze(-1).T.tolist() == [[False, True, False, False], [False] * 4]
    assert played.truncated.tolist() == [[False], [True]]
    assert played.last_observations.argmax(-1).tolist() == [[2], [2]]
    expected = torch.tensor([[-0.01, 0.99, 0, 0], [-0.01] * 4])
    np.testing.assert_allclose(played.rewards.squeeze(-1).T, expected, rtol=1e-5)
    np.testing.assert_allclose(played.task_returns(0.5).squeeze(-1), torch.tensor([0.485, -0.01875]), rtol=1e-5)
    assert played.log_probs is None


def test_shapes_and_types():
    played = play(grids(), uniform, 6)
    assert played.observations.shape == (15, 2, 6, 12)
    assert played.last_observations.shape == (2, 6, 12)
    assert played.truncated.shape == (2, 6)
    assert (played.actions.dtype, played.terminated.dtype, played.valid.dtype) == (torch.int64, torch.bool, torch.bool)
    for name in ("actions", "rewards", "task_rewards", "terminated", "valid", "log_probs"):
        assert getattr(played, name).shape == (15, 2, 6)
    for name in ("observations", "rewards", "task_rewards", "last_observations", "log_probs"):
        assert getattr(played, name).dtype == torch.float32
    assert play(grids(), uniform, 6, horizon=3).rewards.shape == (3, 2, 6)


def test_masks_agree_with_one_another_and_with_the_rewards():
    played = play(grids(), uniform, 200, seeded(0))
    valid, terminated = played.valid, played.terminated
    assert valid[0].all()
    assert torch.equal(valid[1:], valid[:-1] & ~terminated[:-1])
    assert torch.equal(terminated.any(0), ~played.truncated)
    assert not (terminated & ~valid).any()
    assert not played.rewards[~valid].any()
    assert not played.task_rewards[~valid].any()
    np.testing.assert_allclose(played.task_rewards[valid], torch.where(terminated[valid], 0.9, -0.1), rtol=1e-5)
    assert 0 < played.truncated.sum() < 400


def test_steps_follow_from_one_another():
    tasks = grids()
    played = play(tasks, uniform, 50, seeded(1))
    states = played.observations.argmax(-1)
    following = torch.cat((states[1:], played.last_observations.argmax(-1)[None]))
    after, rewards, terminated = tasks.step(states, played.actions)
    assert torch.equal(after, following)
    np.testing.assert_allclose(played.rewards, rewards.float(), rtol=1e-5)
    assert torch.equal(played.terminated, terminated)


def test_actions_are_drawn_from_the_policy_and_have_its_log_probabilities():
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.0, 0.2, 0.1]])

    def policy(seen):
        return probabilities.log()[:, None].expand(2, seen.shape[1], 4)

    played = play(grids(), policy, 2000, seeded(2))
    for task in range(2):
        actions = played.actions[:, task].flatten()
        shares = torch.bincount(actions, minlength=4) / len(actions)
        assert ((shares - probabilities[task]).abs() < 4 * (0.25 / len(actions)) ** 0.5).all()
        np.testing.assert_allclose(played.log_probs[:, task].flatten(), probabilities[task].log()[actions], rtol=1e-5)
    assert not (played.actions[:, 1] == 1).any()


def test_the_seed_decides_everything():
    first, again, other = (play(grids(), uniform, 20, seeded(seed)) for seed in (3, 3, 4))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name))
    assert not torch.equal(first.actions, other.actions)


def test_nothing_is_attached_to_a_graph():
    weights = torch.zeros(12, 4, requires_grad=True)
    played = play(grids(), lambda seen: seen @ weights, 3)
    assert not any(value.requires_grad for value in vars(played).values())


def test_policies_of_all_tasks_are_called_once_a_step():
    calls = []

    def policy(seen):
        calls.append(seen.shape)
        return uniform(seen)

    play(grids(observation="coordinates"), policy, 8)
    assert calls == [(2, 8, 2)] * 15


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda seen: torch.zeros(2, 4), r"the policy gave logits of shape \[2, 4\] — .* here \[2, 3, 4\]"),
        (lambda seen: torch.zeros(2, 3, 5), r"the policy gave logits of shape \[2, 3, 5\]"),
        (lambda seen: torch.zeros(3, 2, dtype=torch.int64), r"the policy gave actions of shape \[3, 2\]"),
        (lambda seen: torch.full((2, 3), 4), "actions of torch.int64 from 4 to 4 — actions are of int64, from 0 to 3"),
        (lambda seen: torch.full((2, 3), -1), "actions of torch.int64 from -1 to -1"),
        (lambda seen: torch.zeros(2, 3, dtype=torch.int32), "actions of torch.int32"),
        (lambda seen: torch.zeros(2, 3, dtype=torch.bool), "actions of torch.bool"),
    ],
)
def test_what_no_policy_may_give_is_named_in_one_line(policy, message):
    with pytest.raises(UserError, match=message) as caught:
        play(grids(), policy, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_stop_the_rollout(wrong):
    with pytest.raises(NonFiniteError, match="the log-probability of an action is not finite"):
        play(grids(), lambda seen: torch.full((2, 3, 4), wrong), 3)


def test_rollouts_without_steps_or_episodes_are_refused():
    with pytest.raises(UserError, match="horizon=0 leaves no step"):
        play(grids(), uniform, 3, horizon=0)
    with pytest.raises(UserError, match="num_episodes=0 leaves nothing to play"):
        play(grids(), uniform, 0)
