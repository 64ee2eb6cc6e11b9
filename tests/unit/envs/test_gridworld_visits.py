"""Expected visits of gridworlds' cells."""

import numpy as np
import pytest
import torch
from episodes_in_gridworlds import play

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_visits import expected_visits

GRIDS = Gridworlds.from_cells(np.ones((3, 3), bool), [(2, 2), (0, 1)], [(0, 0), (2, 0)], horizon=5)


def test_a_straight_path_is_visited_once_and_ends_at_the_goal():
    policy = torch.zeros(2, 9, 4)
    policy[..., 1] = 1  # east
    policy[:, [2, 5], 1], policy[:, [2, 5], 2] = 0, 1  # at the border south
    assert expected_visits(GRIDS, policy)[0].tolist() == [1, 1, 1, 0, 0, 1, 0, 0, 1]


def test_visits_are_the_mean_of_many_episodes():
    logits = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    found = expected_visits(GRIDS, logits.softmax(-1))
    played = play(GRIDS, lambda seen: torch.einsum("mes,msa->mea", seen, logits), 4000, seed=1)
    states = torch.cat((played.observations, played.last_observations[None])).argmax(-1)
    ended = torch.cat((torch.zeros(2, 2, 4000), played.terminated.cumsum(0)[:-1]))  # before that state
    kept = ended == 0
    for m in range(2):
        counts = torch.bincount(states[:, m][kept[:, m]], minlength=9) / 4000
        assert counts.numpy() == pytest.approx(found[m].numpy(), abs=0.06)
