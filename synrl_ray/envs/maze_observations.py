"""What an agent sees in each cell of a maze."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from gymnasium import spaces

from synrl_ray.envs.maze_layout import MOST_SEEN_CELLS, MazeLayout, require_few_cells
from synrl_ray.errors import UserError

MazeObservation = Literal["place_cells", "local", "cell"]


def place_cell_activities(layout: MazeLayout, sigma: float) -> np.ndarray:
    r"""Gaussian place fields, one at the centre of each cell; walls do not matter to them.

    .. math:: f_j(i) = \exp\left(-\frac{\lVert x_i - x_j \rVert^2}{2 \sigma^2}\right)

    Args:
        layout: the maze; distances are in units of cells.
        sigma: width of the fields, in cells.

    Returns:
        ``[S, S]`` of float32: the activity of place cell j with the agent in cell i.

    Raises:
        UserError: if ``sigma`` is not positive, or for too many cells.

    References:
        Foster, Morris & Dayan (2000), Hippocampus 10:1-16,
        doi:10.1002/(SICI)1098-1063(2000)10:1<1::AID-HIPO1>3.0.CO;2-1.
    """
    if not 0 < sigma < np.inf:
        raise UserError(f"sigma={sigma} is no width of place fields", "choose a positive number of cells")
    rows, columns = layout.shape
    require_few_cells(rows, columns, MOST_SEEN_CELLS)
    centres = np.stack(np.divmod(np.arange(rows * columns), columns), axis=-1)
    squared = ((centres[:, None] - centres[None]) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def state_observations(
    layout: MazeLayout, observation: MazeObservation, sigma: float
) -> tuple[np.ndarray | None, spaces.Space]:
    """What is seen in each state, and its space.

    ``place_cells``: :func:`place_cell_activities`, ``Box(0, 1, (S,))``. ``local``: whether there is a wall to the
    north, east, south and west, ``Box(0, 1, (4,))``; different cells may look the same. ``cell``: the state itself,
    ``Discrete(S)``, and ``None`` for the array.

    Raises:
        UserError: for another name, or a width that is not positive.
    """
    if observation == "cell":
        return None, spaces.Discrete(layout.num_states)
    if observation == "place_cells":
        seen = place_cell_activities(layout, sigma)
    elif observation == "local":
        seen = (~layout.passages).reshape(-1, 4).astype(np.float32)
    else:
        raise UserError(f"unknown observation {observation!r}", f"one of {', '.join(get_args(MazeObservation))}")
    return seen, spaces.Box(0.0, 1.0, seen.shape[1:], np.float32)
