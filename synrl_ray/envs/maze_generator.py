"""Mazes from a seed: a spanning tree of the cells, some of whose dead ends are opened."""

from __future__ import annotations

import numpy as np

from synrl_ray.envs.maze_layout import MOVES, SMALLEST, Cell, MazeLayout, require_few_cells
from synrl_ray.errors import UserError


def generate_maze(size: int, maze_seed: int, braid: float = 0.0) -> MazeLayout:
    """A connected maze of ``size`` x ``size`` cells, all of them free.

    Randomised depth-first search gives a *perfect* maze: one path between any two cells, long corridors. Then dead
    ends, as many as the share ``braid``, each lose one more wall, towards a random neighbour; where that is a dead
    end too, both are gone. So 0 leaves a tree and 1 leaves no dead end.

    Args:
        size: cells on a side, at least 3.
        maze_seed: decides the maze.
        braid: share of dead ends that are opened, 0...1.

    Raises:
        UserError: if one of them is out of range.
    """
    if size < SMALLEST:
        raise UserError(f"a maze of size {size} is too small", f"at least {SMALLEST} cells on a side")
    require_few_cells(size, size)
    if not 0 <= braid <= 1:
        raise UserError(f"braid={braid} is no share", "choose one within 0 and 1")
    if maze_seed < 0:
        raise UserError(f"maze_seed={maze_seed} is negative", "choose 0 or more")
    rng = np.random.default_rng(maze_seed)
    passages = np.zeros((size, size, 4), np.bool_)
    _carve(passages, rng)
    _open_dead_ends(passages, braid, rng)
    return MazeLayout(passages, np.ones((size, size), np.bool_))


def _carve(passages: np.ndarray, rng: np.random.Generator) -> None:
    """Randomised depth-first search, with a stack of its own: recursion would be as deep as the maze has cells."""
    size = len(passages)
    here = (int(rng.integers(size)), int(rng.integers(size)))
    seen, stack = {here}, [here]
    while stack:
        here = stack[-1]
        unseen = [move for move in range(4) if (there := _neighbour(here, move, size)) and there not in seen]
        if not unseen:
            stack.pop()
            continue
        there = _open(passages, here, unseen[rng.integers(len(unseen))])
        seen.add(there)
        stack.append(there)


def _open_dead_ends(passages: np.ndarray, braid: float, rng: np.random.Generator) -> None:
    dead_ends = np.argwhere(passages.sum(axis=-1) == 1)
    chosen = rng.permutation(dead_ends)[: round(braid * len(dead_ends))]
    for row, column in chosen.tolist():
        if passages[row, column].sum() > 1:  # opened from another dead end
            continue
        closed = [m for m in range(4) if not passages[row, column, m] and _neighbour((row, column), m, len(passages))]
        _open(passages, (row, column), closed[rng.integers(len(closed))])


def _neighbour(cell: Cell, move: int, size: int) -> Cell | None:
    row, column = cell[0] + MOVES[move][0], cell[1] + MOVES[move][1]
    return (row, column) if 0 <= row < size and 0 <= column < size else None


def _open(passages: np.ndarray, cell: Cell, move: int) -> Cell:
    """Take away a wall, on both of its sides; the cell behind it."""
    there = (cell[0] + MOVES[move][0], cell[1] + MOVES[move][1])
    passages[(*cell, move)] = passages[(*there, (move + 2) % 4)] = True
    return there
