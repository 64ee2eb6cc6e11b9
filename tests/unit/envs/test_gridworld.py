"""Batched dynamics against a plain loop, rewards and observations by hand."""

import numpy as np
import pytest
import torch

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_layout import random_layout, read_layout
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.errors import UserError

NORTH, EAST, SOUTH, WEST = range(4)
CORNER = read_layout(["...", ".#.", "..."])


def random_grids(rewards=None, num_tasks=6, **kwargs):
    rng = np.random.default_rng(3)
    goals = [(int(rng.integers(4)), int(rng.integers(5))) for _ in range(num_tasks)]
    free = np.stack([random_layout(4, 5, 5, rng, {"goal": goal}) for goal in goals])
    return Gridworlds.from_cells(free, goals, rewards=rewards, horizon=30, **kwargs)


def shortest(free, start, goal):
    """Moves from a cell to the goal, by growing the set of cells that are reached."""
    reached, moves = {start}, 0
    while goal not in reached:
        reached |= {(r + dr, c + dc) for r, c in reached for dr, dc in ((-1, 0), (0, 1), (1, 0), (0, -1))}
        reached = {(r, c) for r, c in reached if 0 <= r < free.shape[0] and 0 <= c < free.shape[1] and free[r, c]}
        moves += 1
    return moves


def plain_step(free, goal, cell, action, rewards):
    """One move, one environment: next cell, reward, terminated."""
    if cell == goal:
        return cell, 0.0, False
    row, column = cell[0] + (-1, 0, 1, 0)[action], cell[1] + (0, 1, 0, -1)[action]
    inside = 0 <= row < free.shape[0] and 0 <= column < free.shape[1]
    after = (row, column) if inside and free[row, column] else cell
    reward = (rewards.goal_reward if after == goal else 0.0) - rewards.step_cost
    if rewards.shaping_scale:
        here, there = (-shortest(free, c, goal) / rewards.shaping_scale for c in (cell, after))
        reward += rewards.shaping_discount * there - here
    return after, reward, after == goal


@pytest.mark.parametrize(
    "rewards",
    [GridworldRewards(2.0, 0.05), GridworldRewards(1.0, 0.1, shaping_scale=7.0, shaping_discount=0.9)],
    ids=["sparse", "shaped"],
)
def test_all_episodes_move_as_a_plain_loop_does(rewards):
    grids = random_grids(rewards)
    generator = torch.Generator().manual_seed(0)
    states = grids.reset(9, generator)
    cells = [[divmod(state, 5) for state in row] for row in states.tolist()]
    goals = [divmod(goal, 5) for goal in grids.goals.tolist()]
    num_terminated = 0
    for _ in range(40):
        actions = torch.randint(4, states.shape, generator=generator)
        states, reward, terminated = grids.step(states, actions)
        for task, row in enumerate(cells):
            free = grids.free[task].numpy()
            for episode, cell in enumerate(row):
                after, paid, ended = plain_step(free, goals[task], cell, int(actions[task, episode]), rewards)
                row[episode] = after
                assert divmod(int(states[task, episode]), 5) == after
                assert float(reward[task, episode]) == pytest.approx(paid, abs=1e-12)
                assert bool(terminated[task, episode]) == ended
                num_terminated += ended
    assert num_terminated > 10


def test_moves_rewards_and_the_end_by_hand():
    grids = Gridworlds.from_cells(CORNER, [(2, 2)], [(0, 1)], horizon=9, rewards=GridworldRewards(2.0, 0.1))
    state = grids.reset(1)
    assert state.tolist() == [[1]]
    played = [(NORTH, 1, -0.1), (SOUTH, 1, -0.1), (WEST, 0, -0.1), (EAST, 1, -0.1), (EAST, 2, -0.1), (SOUTH, 5, -0.1)]
    for action, after, paid in played:
        state, reward, terminated = grids.step(state, torch.tensor([[action]]))
        assert (state.item(), reward.item(), terminated.item()) == (after, pytest.approx(paid), False)
    state, reward, terminated = grids.step(state, torch.tensor([[SOUTH]]))
    assert (state.item(), reward.item(), terminated.item()) == (8, pytest.approx(1.9), True)
    state, reward, terminated = grids.step(state, torch.tensor([[NORTH]]))
    assert (state.item(), reward.item(), terminated.item()) == (8, 0.0, False)


def test_shaping_by_hand_is_discounted_potential_ahead_less_that_behind():
    rewards = GridworldRewards(1.0, 0.0, shaping_scale=4.0, shaping_discount=0.5)
    grids = Gridworlds.from_cells(CORNER, [(2, 2)], [(0, 0)], horizon=9, rewards=rewards)
    assert grids.task_reward[0, 0].tolist() == [0] * 4
    assert grids.reward[0, 0].tolist() == [-0.5 + 1, -0.375 + 1, -0.375 + 1, -0.5 + 1]
    assert grids.reward[0, 5].tolist() == [0.5 * -0.5 + 0.25, 0.5 * -0.25 + 0.25, 1 + 0.25, 0.5 * -0.25 + 0.25]
    assert not grids.reward[0, [4, 8]].any()


def test_a_step_of_many_times_at_once_is_the_same_as_one_after_another():
    grids = random_grids()
    generator = torch.Generator().manual_seed(1)
    states = torch.stack([grids.reset(5, generator) for _ in range(7)])
    actions = torch.randint(4, states.shape, generator=generator)
    together = grids.step(states, actions)
    for time in range(7):
        for whole, part in zip(together, grids.step(states[time], actions[time]), strict=True):
            assert torch.equal(whole[time], part)


def test_random_starts_are_all_free_cells_but_the_goal_equally_likely():
    grids = Gridworlds.from_cells(CORNER, [(2, 2), (0, 0)], horizon=5)
    states = grids.reset(7000, torch.Generator().manual_seed(0))
    for task, goal in enumerate((8, 0)):
        counts = torch.bincount(states[task], minlength=9)
        open_cells = sorted(set(range(9)) - {4, goal})
        assert counts.nonzero().flatten().tolist() == open_cells
        assert ((counts[open_cells] - 1000).abs() < 4 * 1000**0.5).all()


def test_fixed_starts_are_each_tasks_own():
    grids = Gridworlds.from_cells(CORNER, [(2, 2), (0, 0)], [(0, 0), (1, 2)], horizon=5)
    assert grids.reset(3).tolist() == [[0] * 3, [5] * 3]


def test_the_seed_decides_the_starts():
    grids = random_grids()
    first, again, other = (grids.reset(20, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_hot_observations():
    grids = random_grids()
    states = grids.reset(7)
    seen = grids.observe(states)
    assert seen.shape == (6, 7, grids.num_features) == (6, 7, 20)
    assert seen.dtype == torch.float32
    assert torch.equal(seen.argmax(-1), states)
    assert torch.equal(seen.sum(-1), torch.ones(6, 7))


def test_coordinates_are_between_minus_one_and_one():
    grids = random_grids(observation="coordinates")
    seen = grids.observe(torch.tensor([[0, 4, 15, 19, 7]] * 6))
    assert grids.num_features == 2
    expected = [[-1, -1], [-1, 1], [1, -1], [1, 1], [-1 / 3, 0]]
    assert torch.allclose(seen[2], torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("observation", ["one_hot", "coordinates"])
def test_obstacles_are_shown_after_the_cell(observation):
    hidden, shown = random_grids(observation=observation), random_grids(observation=observation, show_obstacles=True)
    states = shown.reset(3)
    seen = shown.observe(states)
    assert seen.shape[-1] == shown.num_features == hidden.num_features + 20
    assert torch.equal(seen[..., :-20], hidden.observe(states))
    assert torch.equal(seen[..., -20:].bool(), ~shown.free.flatten(1)[:, None].expand(6, 3, 20))
    assert torch.equal(shown.all_observations()[:, [2, 3]], shown.observe(torch.tensor([[2, 3]] * 6)))


def test_one_map_for_all_tasks_or_one_for_each():
    goals = [(0, 0), (2, 2)]
    shared = Gridworlds.from_cells(CORNER, goals, horizon=5)
    own = Gridworlds.from_cells(np.stack([CORNER, CORNER]), goals, horizon=5)
    assert torch.equal(shared.next_state, own.next_state)
    assert torch.equal(shared.free, own.free)


def test_on_a_device_every_tensor_is_there():
    grids = random_grids(show_obstacles=True).to("meta")
    assert {tensor.device.type for tensor in vars(grids).values() if isinstance(tensor, torch.Tensor)} == {"meta"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"goals": [(3, 0)]}, r"the goal \(3, 0\) is outside"),
        ({"goals": [(1, 1)]}, r"the goal \(1, 1\) is an obstacle"),
        ({"starts": [(1, 1)]}, r"the start \(1, 1\) is an obstacle"),
        ({"starts": [(2, 2)]}, r"start and goal are the same cell \(2, 2\)"),
        ({"starts": [(0, 0), (0, 1)]}, "gridworlds have 1 grids, 1 goals, 2 starts"),
        ({"goals": []}, "gridworlds have 0 grids, 0 goals"),
        ({"free": np.stack([CORNER, CORNER])}, "gridworlds have 2 grids, 1 goals"),
        ({"free": read_layout(["..#", ".#.", "#.."])}, r"gridworld 0 has no path from \(0, 0\) to the goal \(2, 2\)"),
        ({"free": read_layout(["###", "###", "##."])}, "has no free cell but its goal"),
        ({"free": np.ones((1, 9)), "goals": [(0, 0)]}, "a grid of 1 x 9 cells is too small"),
        ({"horizon": 0}, "horizon=0 leaves no step"),
        ({"observation": "smell"}, "unknown observation 'smell' — one of one_hot, coordinates"),
    ],
)
def test_bad_gridworlds_are_named_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        Gridworlds.from_cells(**{"free": CORNER, "goals": [(2, 2)], "horizon": 5, **kwargs})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"goal_reward": 0.0}, r"out of range \(goal_reward=0.0, step_cost=0.01\)"),
        ({"goal_reward": float("nan")}, "rewards of the gridworld are out of range"),
        ({"step_cost": -0.1}, "rewards of the gridworld are out of range"),
        ({"step_cost": float("inf")}, "rewards of the gridworld are out of range"),
        ({"shaping_scale": 0.0}, "shaping_scale=0.0 is no scale"),
        ({"shaping_discount": 1.1}, "shaping_discount=1.1 is no discount"),
    ],
)
def test_bad_rewards_are_named_in_one_line(kwargs, message):
    with pytest.raises(UserError, match=message) as caught:
        GridworldRewards(**kwargs)
    assert "\n" not in str(caught.value)


def test_no_episode_is_refused():
    with pytest.raises(UserError, match="num_episodes=0 leaves nothing to play"):
        random_grids().reset(0)
