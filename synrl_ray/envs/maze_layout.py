"""The walls of a maze: generated from a seed or read from text, and shortest paths between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synrl_ray.errors import UserError

Cell = tuple[int, int]
"""Row and column; (0, 0) is the north-west corner."""
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""Change of row and column by the actions north, east, south, west."""
SMALLEST = 3
MOST_CELLS = 2**14
"""Of a grid, whoever describes it: what is kept of each cell and task fills no memory."""
MOST_SEEN_CELLS = 2**12
"""Of a grid whose observation has a number for each cell, since all observations are kept: S * S numbers."""
_REMEDY = "2 rows + 1 lines of 2 columns + 1 characters, '#' for walls, cells at odd rows and columns"


def require_few_cells(rows: int, columns: int, most: int = MOST_CELLS) -> None:
    """Refuse a grid of too many cells.

    Raises:
        UserError: for more than ``most``.
    """
    if rows * columns > most:
        raise UserError(f"a grid of {rows:,} x {columns:,} cells is too large", f"at most {most:,} cells")


@dataclass(frozen=True, eq=False)
class MazeLayout:
    """R x C cells with walls between them.

    A cell's number, its *state*, is ``row * C + column``. ``str(layout)`` is the text that :meth:`from_text` reads.

    Attributes:
        passages: ``[R, C, 4]`` of bool: open to the north, east, south, west; the same from both sides.
        free: ``[R, C]`` of bool; a cell that is not free is solid, without passages.

    Raises:
        UserError: if there are fewer than 3 rows or columns.
    """

    passages: np.ndarray
    free: np.ndarray

    def __post_init__(self) -> None:
        if min(self.free.shape) < SMALLEST:
            rows, columns = self.free.shape
            raise UserError(f"a maze of {rows} x {columns} cells is too small", f"at least {SMALLEST} x {SMALLEST}")
        require_few_cells(*self.free.shape)

    @property
    def shape(self) -> Cell:
        """R and C."""
        return self.free.shape[0], self.free.shape[1]

    @property
    def num_states(self) -> int:
        """S = R * C."""
        return self.free.size

    @cached_property
    def next_state(self) -> np.ndarray:
        """``[S, 4]``: where each action leads; into a wall, nowhere else."""
        columns = self.shape[1]
        states = np.arange(self.num_states)[:, None]
        change = np.array([row * columns + column for row, column in MOVES])
        return np.where(self.passages.reshape(-1, 4), states + change, states)

    def state(self, cell: Sequence[int], what: str = "cell") -> int:
        """The number of a free cell.

        Raises:
            UserError: if it is outside or in a wall; ``what`` names it.
        """
        rows, columns = self.shape
        try:
            row, column = (int(index) for index in cell)
            whole = (row, column) == tuple(cell)
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise UserError(f"the {what} {cell!r} is no cell", "give (row, column)")
        if not (0 <= row < rows and 0 <= column < columns):
            raise UserError(f"the {what} {(row, column)} is outside", f"the maze has {rows} x {columns} cells")
        if not self.free[row, column]:
            raise UserError(f"the {what} {(row, column)} is in a wall", "choose a free cell")
        return row * columns + column

    def cell(self, state: int) -> Cell:
        """Row and column of a state."""
        row, column = divmod(int(state), self.shape[1])
        return row, column

    def distances(self, goal: int) -> np.ndarray:
        """Moves on a shortest path to the goal from each state, by breadth-first search.

        Returns:
            ``[S]`` of int64; -1 where no path leads.
        """
        distance = np.full(self.num_states, -1)
        distance[goal] = 0
        queue = deque([goal])
        neighbours = self.next_state.tolist()  # passages are the same from both sides
        while queue:
            here = queue.popleft()
            for there in neighbours[here]:
                if distance[there] < 0:
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance

    def shortest_path(self, start: int, goal: int) -> list[int]:
        """The states of a shortest path, both ends included.

        Raises:
            UserError: if no path leads there.
        """
        distance = self.distances(goal)
        if distance[start] < 0:
            raise UserError(f"the maze has no path from {self.cell(start)} to {self.cell(goal)}", "open a wall")
        path = [start]
        while path[-1] != goal:
            nearer = [there for there in self.next_state[path[-1]] if distance[there] == distance[path[-1]] - 1]
            path.append(int(nearer[0]))
        return path

    def __str__(self) -> str:
        rows, columns = self.shape
        text = np.full((2 * rows + 1, 2 * columns + 1), "#")
        text[1::2, 1::2][self.free] = " "
        text[1::2, 2::2][self.passages[:, :, 1]] = " "
        text[2::2, 1::2][self.passages[:, :, 2]] = " "
        return "\n".join("".join(line) for line in text)

    @classmethod
    def from_text(cls, lines: Sequence[str]) -> MazeLayout:
        """Read a maze from ``2 R + 1`` lines of ``2 C + 1`` characters.

        Cells are at odd lines and columns, walls between them; ``#`` is a wall and a space is none.

        Raises:
            UserError: for lines of several lengths or even numbers, other characters, or a border that is open.

        Example:
            >>> lines = ["#######", "#     #", "# ### #", "# #   #", "# # ###", "#     #", "#######"]
            >>> layout = MazeLayout.from_text(lines)
            >>> layout.distances(goal=5)
            array([3, 2, 1, 4, 1, 0, 3, 2, 3])
        """
        lengths = {len(line) for line in lines}
        if len(lengths) != 1 or len(lines) % 2 == 0 or min(lengths) % 2 == 0:
            raise UserError(f"a maze of {len(lines)} lines of {sorted(lengths)} characters cannot be read", _REMEDY)
        text = np.array([list(line) for line in lines])
        if unknown := set(text.ravel()) - {"#", " "}:
            raise UserError(f"a maze with the characters {sorted(map(str, unknown))} cannot be read", _REMEDY)
        is_open = text == " "
        if is_open[[0, -1]].any() or is_open[:, [0, -1]].any():
            raise UserError("the border of a maze must be closed", _REMEDY)
        free = is_open[1::2, 1::2]
        passages = np.zeros((*free.shape, 4), np.bool_)
        passages[:, :-1, 1] = is_open[1::2, 2:-1:2] & free[:, :-1] & free[:, 1:]
        passages[:-1, :, 2] = is_open[2:-1:2, 1::2] & free[:-1] & free[1:]
        passages[:, 1:, 3] = passages[:, :-1, 1]
        passages[1:, :, 0] = passages[:-1, :, 2]
        return cls(passages, free)
