"""Gridworlds that differ in everything: size, obstacles, start and goal, thousands of distinct ones.

Smaller grids lie in the north-west of a map of the largest size, with obstacles around, so that all tasks are tables of
one shape. The splits are disjoint by a checksum of map, start and goal: a third of all tasks belongs to each.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_layout import SMALLEST, check_size, distances, next_states, random_layout
from synrl_ray.envs.gridworld_observations import GridworldObservation
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.maze_layout import Cell
from synrl_ray.errors import UserError
from synrl_ray.meta.tasks import SPLITS, Split, checked, task_generator

_TRIES = 200


@dataclass(frozen=True)
class LayoutDistribution:
    """A distribution of gridworlds: a task is a pure function of a split and a seed.

    Rows and columns are drawn from half of the largest number, rounded up, to all of it; so many obstacles as are asked
    for in the largest grid, fewer in proportion to the cells of a smaller one; start and goal from free cells, the goal
    within the horizon.

    Args:
        rows, columns: the most.
        num_obstacles: of the largest grid, at most.
        horizon: environment steps of an episode.
        rewards, observation, show_obstacles: as of :class:`~synrl_ray.meta.gridworlds.GridworldDistribution`.

    Raises:
        UserError: for a grid that is too small, or so many obstacles that no task is found.

    Example:
        >>> tasks = LayoutDistribution(rows=7, columns=7, num_obstacles=10, horizon=20)
        >>> grids = tasks.sample("test", range(100))
        >>> starts = grids.initial.argmax(1)
        >>> len({(f.numpy().tobytes(), int(g), int(s)) for f, g, s in zip(grids.free, grids.goals, starts)})
        100
    """

    rows: int = 7
    columns: int = 7
    num_obstacles: int = 10
    horizon: int = 20
    rewards: GridworldRewards = field(default_factory=GridworldRewards)
    observation: GridworldObservation = "one_hot"
    show_obstacles: bool = False

    def __post_init__(self) -> None:
        check_size(self.rows, self.columns)
        for split in SPLITS:
            self.sample(split, [0])  # what else is wrong shows here

    def sample(self, split: Split, seeds: Sequence[int]) -> Gridworlds:
        """The tasks of these seeds, ``M = len(seeds)``.

        Raises:
            UserError: for an unknown split, no seeds, or seeds outside 0 … 2^62 - 1; or if no task is found.
        """
        checked(split, seeds)
        maps, goals, starts = zip(*(self._task(split, seed) for seed in seeds), strict=True)
        return Gridworlds.from_cells(
            np.stack(maps),
            goals,
            starts,
            horizon=self.horizon,
            rewards=self.rewards,
            observation=self.observation,
            show_obstacles=self.show_obstacles,
        )

    def _task(self, split: Split, seed: int) -> tuple[np.ndarray, Cell, Cell]:
        """Free cells ``[R, C]``, goal and start."""
        rng = task_generator(split, seed)
        for _ in range(_TRIES):
            rows, columns = (int(rng.integers(max(SMALLEST, -(-n // 2)), n + 1)) for n in (self.rows, self.columns))
            most = self.num_obstacles * rows * columns // (self.rows * self.columns)
            free = np.zeros((self.rows, self.columns), np.bool_)
            free[:rows, :columns] = random_layout(rows, columns, int(rng.integers(most + 1)), rng)
            start, goal = rng.choice(np.flatnonzero(free), 2, replace=False).tolist()
            key = np.packbits(free).tobytes() + np.array([start, goal], np.int64).tobytes()
            if SPLITS[zlib.crc32(key) % len(SPLITS)] != split:
                continue
            if 0 < distances(next_states(free[None]), np.array([goal]))[0, start] <= self.horizon:
                return free, divmod(goal, self.columns), divmod(start, self.columns)
        problem = f"no gridworld was found for {split} in {_TRIES} draws"
        raise UserError(problem, "choose a larger grid, fewer obstacles or a longer horizon")
