"""Judging adapted policies: exact regret on held-out goals."""

import numpy as np
import pytest
import torch

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.experiment import AnnLearner, GridworldTasks, MamlRl
from synrl_ray.meta.families import family_of
from synrl_ray.meta.policy_judging import greedy, judge_policies, relative_regret

SETTINGS = GridworldTasks(rows=4, columns=4, horizon=10)
LEARNER = AnnLearner(hidden_sizes=(8,))


def made(seed=1):
    torch.manual_seed(seed)
    return family_of(SETTINGS).meta_learner(LEARNER, MamlRl(episodes=5))


def test_regret_of_hand_made_policies():
    grids = Gridworlds.from_cells(np.ones((2, 3), bool), [(0, 2)], [(0, 0)], horizon=4)
    east, west, half = torch.zeros(3, 1, 6, 4)
    east[..., 1], west[..., 3], half[..., 1], half[..., 3] = 1, 1, 0.5, 0.5
    # The best return is 1 - 2 * 0.01; going west pays -4 * 0.01. The third one walks on 0, 1, 2 with a wall at 0:
    # after 2 moves it is at the goal by 1/4, and after 4 by 1/4 + (1/4 of those at 0, 1/4 of those at 1) ...
    at, reached = np.array([1.0, 0.0]), [0.0]
    for _ in range(4):
        reached.append(reached[-1] + at[1] / 2)
        at = np.array([at[0] / 2 + at[1] / 2, at[0] / 2])
    third = reached[-1] - 0.01 * sum(1 - share for share in reached[:-1])
    found = relative_regret(grids, [east, west, half])
    assert found[0].tolist() == pytest.approx([0, (0.98 + 0.04) / 0.98, (0.98 - third) / 0.98])


def test_greedy_takes_the_likeliest_action():
    probabilities = torch.tensor([[[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]]])
    assert greedy(probabilities).tolist() == [[[0, 1, 0, 0], [1, 0, 0, 0]]]


def test_a_learner_is_judged_alike_each_time_by_the_number_of_inner_steps():
    tasks = family_of(SETTINGS).distribution()
    judged = judge_policies(made(), tasks, "test", num_tasks=60, num_steps=4)
    assert judged.greedy.shape == judged.stochastic.shape == judged.env_steps.shape == (60, 5)
    assert (judged.greedy >= -1e-9).all()
    assert (judged.env_steps[:, 0] == 0).all()
    assert (judged.env_steps.diff(dim=1) > 0).all()
    assert judged.env_steps.max() <= 4 * 5 * 10
    again = judge_policies(made(), tasks, "test", num_tasks=60, num_steps=4)
    assert torch.equal(judged.stochastic, again.stochastic)
    assert torch.equal(judged.greedy, again.greedy)


def test_the_untrained_learner_is_always_the_same_and_disturbs_nothing():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (family_of(SETTINGS).untrained(LEARNER, made_.config) for made_ in (made(1), made(2)))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    torch.set_rng_state(state)
    family_of(SETTINGS).untrained(LEARNER, first.config)
    assert torch.equal(torch.get_rng_state(), state)
