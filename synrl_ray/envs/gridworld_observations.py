"""What an agent sees in each cell of a gridworld. Never the goal: it is found by its reward."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from synrl_ray.envs.maze_layout import MOST_SEEN_CELLS, require_few_cells
from synrl_ray.errors import UserError

GridworldObservation = Literal["one_hot", "coordinates"]


def cell_features(rows: int, columns: int, observation: GridworldObservation) -> np.ndarray:
    """One row for each cell.

    ``one_hot``: 1 at the cell's number, S features. ``coordinates``: row and column, each from -1 (north, west) to 1.

    Returns:
        ``[S, S]`` or ``[S, 2]`` of float32.

    Raises:
        UserError: for another name, or too many cells for one number each.

    Example:
        >>> cell_features(2, 3, "coordinates")[3]
        array([ 1., -1.], dtype=float32)
    """
    if observation == "one_hot":
        require_few_cells(rows, columns, MOST_SEEN_CELLS)
        return np.eye(rows * columns, dtype=np.float32)
    if observation == "coordinates":
        axes = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
        return np.stack(axes, axis=-1).reshape(-1, 2).astype(np.float32)
    raise UserError(f"unknown observation {observation!r}", f"one of {', '.join(get_args(GridworldObservation))}")
