"""Episodes from a table: they follow the grids' dynamics, and only the given numbers decide what happens."""

import numpy as np
import pytest
import torch

from synrl_ray.meta.episodes import numbers_needed, play
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.gridworlds import GridworldDistribution

TASKS = PlayedGridworlds(GridworldDistribution(rows=4, columns=5, num_obstacles=3, horizon=12))


def played(batch, num_episodes=30, seed=0):
    p = torch.rand(len(batch), 20, 4, generator=torch.Generator().manual_seed(seed)).double()
    probabilities = (p / p.sum(-1, keepdim=True)).numpy()
    return play(batch.grids, probabilities, batch.uniforms(numbers_needed(batch.grids, num_episodes), 1), num_episodes)


def test_episodes_follow_the_grids():
    batch = TASKS.sample("train", range(6))
    grids, episodes = batch.grids, played(batch)
    states, actions = torch.from_numpy(episodes.states), torch.from_numpy(episodes.actions)
    after, rewards, reached = grids.step(states, actions)
    assert torch.equal(after[:-1], states[1:])
    assert np.array_equal(after[-1], episodes.last_states)
    assert np.array_equal(rewards, episodes.rewards)
    assert np.array_equal(episodes.valid, states != grids.goals[:, None])
    assert np.array_equal(~reached.any(0), episodes.truncated)
    returns = grids.task_reward.take(grids.rows(states, actions)).sum(0)
    assert episodes.task_returns == pytest.approx(returns.numpy())
    assert (grids.initial.gather(1, states[0]) > 0).all()
    assert np.array_equal(episodes.env_steps, episodes.valid.sum(2).sum(0))


def test_actions_and_first_states_are_drawn_by_their_probabilities():
    batch = PlayedGridworlds(GridworldDistribution(rows=2, columns=2, horizon=1)).sample("train", [0])
    probabilities = np.tile([0.1, 0.2, 0.3, 0.4], (1, 4, 1))
    episodes = play(batch.grids, probabilities, batch.uniforms(40_000, 1), 20_000)
    counts = np.bincount(episodes.actions.ravel(), minlength=4) / 20_000
    assert counts == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.015)
    starts = np.bincount(episodes.states[0].ravel(), minlength=4) / 20_000
    assert starts == pytest.approx(batch.grids.initial[0].numpy(), abs=0.015)


def test_the_ends_of_the_unit_interval_draw_possible_states_and_actions():
    batch = TASKS.sample("test", [3])
    probabilities = np.tile([0.0, 0.5, 0.5, 0.0], (1, 20, 1))
    for number, action in ((0.0, 1), (1 - 2**-53, 2)):
        episodes = play(batch.grids, probabilities, np.full((1, 13), number), 1)
        assert batch.grids.initial[0, episodes.states[0, 0, 0]] > 0
        assert episodes.actions[0, 0, 0] == action


def test_a_task_is_played_alike_whatever_it_is_drawn_with():
    together, alone = TASKS.sample("train", [4, 7, 2]), TASKS.sample("train", [7])
    assert np.array_equal(together.uniforms(9, 3)[1:2], alone.uniforms(9, 3))


def test_numbers_differ_by_stream_seed_and_split():
    def numbers(split, seed, stream):
        return TASKS.sample(split, [seed]).uniforms(50, stream)

    drawn = [numbers(*key) for key in (("train", 0, 1), ("train", 0, 2), ("train", 1, 1), ("test", 0, 1))]
    assert len({value for values in drawn for value in values.ravel()}) == 200
    assert all(values.min() >= 0 and values.max() < 1 for values in drawn)
