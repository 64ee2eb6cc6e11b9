"""Cells and obstacles of gridworlds: random ones from a seed, where moves lead, and shortest paths.

Legend: M tasks, R rows, C columns, S = R * C cells (a cell's number, its *state*, is ``row * C + column``).
Moves are numbered as in :data:`~synrl_ray.envs.maze_layout.MOVES`: north, east, south, west.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np

from synrl_ray.envs.maze_layout import MOVES, Cell, require_few_cells
from synrl_ray.errors import UserError

SMALLEST = 2


def random_layout(
    rows: int, columns: int, num_obstacles: int, rng: np.random.Generator, keep: Mapping[str, Cell] | None = None
) -> np.ndarray:
    """Obstacles in random cells that leave all free cells connected, so that each reaches any goal.

    Cells become obstacles one after the other, in random order; one that would cut the free cells in two waits for the
    next round.

    Args:
        rows, columns: at least 2 each.
        num_obstacles: exactly so many.
        rng: decides their cells.
        keep: cells that stay free, under their names for messages.

    Returns:
        ``[R, C]`` of bool, true where a cell is free.

    Raises:
        UserError: for a grid that is too small, a cell to keep outside of it, or a number of obstacles that is negative
            or more than fit.
    """
    check_size(rows, columns)
    if not isinstance(num_obstacles, Integral):
        raise UserError(f"num_obstacles={num_obstacles!r} is no number of cells", "choose a whole number")
    if num_obstacles < 0:
        raise UserError(f"num_obstacles={num_obstacles} is negative", "choose 0 or more")
    grid = np.ones((rows, columns), np.bool_)
    kept = {cell_state(cell, grid, name) for name, cell in (keep or {}).items()}
    width = columns + 1  # of a row of bits: one that is never free keeps rows apart
    bits = {state: 1 << (state // columns * width + state % columns) for state in range(grid.size)}
    free = sum(bits.values())
    waiting = [state for state in rng.permutation(grid.size).tolist() if state not in kept]
    taken: list[int] = []
    while len(taken) < num_obstacles:
        before, cut = len(taken), []
        for state in waiting:
            room = len(taken) < min(num_obstacles, grid.size - 2)  # for a start and a goal
            if room and _stay_connected(free ^ bits[state], bits[state], width):
                free ^= bits[state]
                taken.append(state)
            else:
                cut.append(state)
        if len(taken) == before:
            problem = f"num_obstacles={num_obstacles} do not fit into {rows} x {columns} cells"
            raise UserError(problem, f"{before} did and left the free cells connected; choose fewer")
        waiting = cut
    grid.ravel()[taken] = False
    return grid


def _stay_connected(free: int, taken: int, width: int) -> bool:
    """Whether cells are connected that were so with one more: its neighbours have to reach each other."""
    around = (taken << 1 | taken >> 1 | taken << width | taken >> width) & free
    reached = around & -around
    while around & ~reached:
        spread = (reached | reached << 1 | reached >> 1 | reached << width | reached >> width) & free
        if spread == reached:
            return False
        reached = spread
    return True


def read_layout(lines: Sequence[str]) -> np.ndarray:
    """Read R lines of C characters, ``#`` for an obstacle and ``.`` for a free cell, as ``[R, C]`` of bool.

    Raises:
        UserError: for lines of several lengths, other characters, or a grid that is too small.

    Example:
        >>> read_layout(["..#", "..."])
        array([[ True,  True, False],
               [ True,  True,  True]])
    """
    lengths = sorted({len(line) for line in lines})
    if len(lengths) != 1 or set("".join(lines)) - {"#", "."}:
        problem = f"a grid of {len(lines)} lines of {lengths} characters cannot be read"
        raise UserError(problem, "lines of one length, '#' for obstacles and '.' for free cells")
    check_size(len(lines), lengths[0])
    return np.array([list(line) for line in lines]) == "."


def write_layout(free: np.ndarray) -> list[str]:
    """The lines that :func:`read_layout` reads."""
    return ["".join(line) for line in np.where(free, ".", "#")]


def next_states(free: np.ndarray) -> np.ndarray:
    """Where each move leads; out of the grid, into an obstacle or from one, nowhere else.

    Shape:
        ``[M, R, C]`` of bool → ``[M, S, 4]`` of int64.
    """
    num_tasks, rows, columns = free.shape
    check_size(rows, columns)
    walled = np.pad(free, ((0, 0), (1, 1), (1, 1)))
    states = np.arange(rows * columns).reshape(rows, columns)
    leads = np.empty((num_tasks, rows, columns, len(MOVES)), np.int64)
    for move, (down, right) in enumerate(MOVES):
        ahead = walled[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
        leads[..., move] = np.where(free & ahead, states + down * columns + right, states)
    return leads.reshape(num_tasks, rows * columns, len(MOVES))


def distances(next_state: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """Moves on a shortest path to the goal, of all tasks at once.

    Args:
        next_state: ``[M, S, 4]``, see :func:`next_states`.
        goals: ``[M]``, states.

    Returns:
        ``[M, S]`` of int64; -1 where no path leads.
    """
    num_tasks, num_states, _ = next_state.shape
    tasks = np.arange(num_tasks)
    distance = np.full((num_tasks, num_states), num_states)  # longer than any path
    distance[tasks, goals] = 0
    while True:
        nearer = np.minimum(distance, 1 + distance[tasks[:, None, None], next_state].min(axis=-1))
        if (nearer == distance).all():
            return np.where(distance < num_states, distance, -1)
        distance = nearer


def cell_state(cell: Sequence[int], free: np.ndarray, what: str) -> int:
    """The number of a free cell.

    Args:
        cell: row and column.
        free: ``[R, C]``.
        what: names the cell in messages.

    Raises:
        UserError: if it is no cell, outside or an obstacle.
    """
    rows, columns = free.shape
    try:
        row, column = (int(index) for index in cell)
        whole = (row, column) == tuple(cell)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(f"the {what} {cell!r} is no cell", "give (row, column)")
    if not (0 <= row < rows and 0 <= column < columns):
        raise UserError(f"the {what} {(row, column)} is outside", f"the grid has {rows} x {columns} cells")
    if not free[row, column]:
        raise UserError(f"the {what} {(row, column)} is an obstacle", "choose a free cell")
    return row * columns + column


def check_size(rows: int, columns: int) -> None:
    """Refuse grids of less than 2 x 2 cells, or too many.

    Raises:
        UserError: for those.
    """
    if min(rows, columns) < SMALLEST:
        raise UserError(f"a grid of {rows} x {columns} cells is too small", f"at least {SMALLEST} x {SMALLEST}")
    require_few_cells(rows, columns)
