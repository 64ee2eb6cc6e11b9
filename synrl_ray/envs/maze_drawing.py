"""Pictures of mazes, as text and as pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from synrl_ray.envs.maze_layout import MazeLayout

_FLOOR, _WALL, _RIM = (250, 250, 247), (43, 48, 58), (255, 255, 255)
_AGENT, _PATH, _GOAL = (30, 100, 200), (30, 100, 200), (35, 150, 85)
_LOW_TO_HIGH = ((255, 247, 205), (252, 212, 135), (240, 150, 115), (190, 100, 140), (115, 75, 160))
"""Colours of values, equally spaced."""
_SMOOTH = 4
"""Pixels are averaged from so many, to a side, where edges are round."""


class Drawn(Protocol):
    """What is drawn of a maze: its walls, and the states of agent and goal."""

    layout: MazeLayout
    agent: int
    goal: int


def maze_text(layout: MazeLayout, agent: int | None = None, goal: int | None = None) -> str:
    """The maze with ``A`` for the agent and ``G`` for the goal; both as states."""
    lines = [list(line) for line in str(layout).splitlines()]
    for state, mark in ((goal, "G"), (agent, "A")):
        if state is not None:
            row, column = layout.cell(state)
            lines[2 * row + 1][2 * column + 1] = mark
    return "\n".join("".join(line) for line in lines) + "\n"


def draw_maze(
    maze: Drawn, path: Sequence[int] | None = None, values: np.ndarray | None = None, cell_pixels: int = 32
) -> np.ndarray:
    """A picture of a maze with its agent (blue) and its goal (green ring).

    Args:
        maze: the environment, without wrappers.
        path: states, drawn as a blue line through the centres of their cells.
        values: ``[S]``, drawn as a heat map from light (lowest) to dark. What is not finite is left blank, and so is
            the goal: its value is 0 by definition and says nothing of those around it.
        cell_pixels: from one wall to the next, at least 8.

    Returns:
        ``[height, width, 3]`` of uint8; ``cell_pixels`` for each cell and one wall more.

    Raises:
        ValueError: if there is not a value for each state, a state does not exist, or cells are too small.
    """
    layout = maze.layout
    if cell_pixels < 8:
        raise ValueError(f"cells need at least 8 pixels, got {cell_pixels}")
    if values is not None and np.shape(values) != (layout.num_states,):
        raise ValueError(f"{layout.num_states} values are needed, one for each cell; got {list(np.shape(values))}")
    if path is not None and not all(0 <= state < layout.num_states for state in path):
        raise ValueError(f"the path leaves the states 0 to {layout.num_states - 1}")
    wall = max(2, cell_pixels // 8)
    rows, columns = layout.shape
    picture = np.empty((rows * cell_pixels + wall, columns * cell_pixels + wall, 3), np.uint8)
    picture[:] = _FLOOR
    if values is not None:
        shown = np.isfinite(values) & layout.free.ravel()
        shown[maze.goal] = False
        _draw_values(picture, layout, np.asarray(values, np.float64), shown, cell_pixels)
    middle = (cell_pixels + wall) // 2
    cells = map(layout.cell, range(layout.num_states))
    centres = [(row * cell_pixels + middle, column * cell_pixels + middle) for row, column in cells]
    if path is not None:
        points, half = [centres[state] for state in path], max(1, cell_pixels // 16)
        _draw_path(picture, points, half + max(1, half // 2), _RIM)  # to be seen on any colour
        _draw_path(picture, points, half, _PATH)
    _draw_walls(picture, layout, cell_pixels, wall)
    room = (cell_pixels - wall) / 2
    _draw_disc(picture, centres[maze.goal], 0.78 * room, _RIM)
    _draw_disc(picture, centres[maze.goal], 0.66 * room, _GOAL)
    _draw_disc(picture, centres[maze.goal], 0.34 * room, _RIM)
    _draw_disc(picture, centres[maze.agent], 0.62 * room, _RIM)
    _draw_disc(picture, centres[maze.agent], 0.5 * room, _AGENT)
    return picture


def _draw_values(picture: np.ndarray, layout: MazeLayout, values: np.ndarray, shown: np.ndarray, cell: int) -> None:
    """Fill cells up to the middle of their walls, which are drawn over them."""
    if not shown.any():
        return
    low, high = values[shown].min(), values[shown].max()
    share = (values - low) / ((high - low) or 1.0)
    stops = np.linspace(0, 1, len(_LOW_TO_HIGH))
    for state in np.flatnonzero(shown).tolist():
        row, column = layout.cell(state)
        colour = [np.interp(share[state], stops, channel) for channel in zip(*_LOW_TO_HIGH, strict=True)]
        half = max(2, cell // 8) // 2
        top, left = row * cell + half, column * cell + half
        picture[top : top + cell, left : left + cell] = np.round(colour)


def _draw_path(picture: np.ndarray, points: Sequence[tuple[int, int]], half: int, colour: tuple[int, int, int]) -> None:
    for (row, column), (next_row, next_column) in itertools.pairwise(points):
        top, bottom = sorted((row, next_row))
        left, right = sorted((column, next_column))
        picture[top - half : bottom + half, left - half : right + half] = colour


def _draw_walls(picture: np.ndarray, layout: MazeLayout, cell: int, wall: int) -> None:
    """Each wall with both of its corners, so that they join."""
    for (row, column, side), is_open in np.ndenumerate(layout.passages):
        if is_open:
            continue
        top, left = row * cell, column * cell
        if side in (0, 2):
            top += cell if side == 2 else 0
            picture[top : top + wall, left : left + cell + wall] = _WALL
        else:
            left += cell if side == 1 else 0
            picture[top : top + cell + wall, left : left + wall] = _WALL
    for row, column in np.argwhere(~layout.free):
        picture[row * cell : (row + 1) * cell + wall, column * cell : (column + 1) * cell + wall] = _WALL


def _draw_disc(picture: np.ndarray, centre: tuple[int, int], radius: float, colour: tuple[int, int, int]) -> None:
    """A disc whose rim is blended with what lies below it."""
    reach = int(np.ceil(radius))
    fine = (np.arange(2 * reach * _SMOOTH) + 0.5) / _SMOOTH - reach
    inside = (fine[:, None] ** 2 + fine[None] ** 2 <= radius**2).astype(np.float64)
    share = inside.reshape(2 * reach, _SMOOTH, 2 * reach, _SMOOTH).mean(axis=(1, 3))[..., None]
    rows, columns = (slice(middle - reach, middle + reach) for middle in centre)
    picture[rows, columns] = np.round(share * np.array(colour) + (1 - share) * picture[rows, columns])
