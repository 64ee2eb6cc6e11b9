"""Where a policy goes in gridworlds, exactly.

Legend: M tasks, S states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from synrl_ray.envs.gridworld import Gridworlds


def expected_visits(grids: Gridworlds, probabilities: Tensor) -> Tensor:
    """How often an episode is expected to be in each state, its last one included.

    Args:
        grids: the tasks.
        probabilities: ``[M, S, 4]``, the distribution of actions in each state.

    Returns:
        ``[M, S]`` of float64. Reaching the goal ends an episode, so the goal's entry is the probability of that.

    Example:
        >>> import numpy as np
        >>> grids = Gridworlds.from_cells(np.ones((2, 2), bool), [(0, 1)], [(0, 0)], horizon=2)
        >>> south = torch.zeros(1, 4, 4).index_fill(2, torch.tensor(2), 1.0)
        >>> expected_visits(grids, south)
        tensor([[1., 0., 2., 0.]], dtype=torch.float64)
    """
    chosen, leads = probabilities.double(), grids.next_state.flatten(1)
    goal = grids.goals[:, None]
    now = grids.initial.double()
    total = now.clone()
    for _ in range(grids.horizon):
        now = torch.zeros_like(now).scatter_add(1, leads, (now[..., None] * chosen).flatten(1))
        total += now
        now = now.scatter(1, goal, 0.0)
    return total
