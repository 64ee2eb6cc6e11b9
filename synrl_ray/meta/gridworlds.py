"""Gridworlds as tasks of meta-reinforcement-learning: the goal has to be found by its reward.

Unlike :class:`~synrl_ray.meta.tasks.TaskDistribution`, these tasks have no support and query sets: both are played.
So a batch of them is a :class:`~synrl_ray.envs.gridworld.Gridworlds`; ``sample`` is called the same way.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.envs.gridworld_layout import cell_state, check_size, random_layout
from synrl_ray.envs.gridworld_observations import GridworldObservation
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.envs.maze_layout import Cell
from synrl_ray.errors import UserError
from synrl_ray.meta.tasks import SPLITS, Split, checked, task_generator

_TRIES = 200
"""Maps for one task: a third of all maps belongs to its split, so that luck does not need so many."""


@dataclass(frozen=True)
class GridworldDistribution:
    """A distribution of gridworlds: a task is a pure function of a split and a seed.

    The splits are disjoint by construction. The cells that may be goals are shuffled once and divided among them, so
    the goals of validation and test are held out. Where each task has obstacles of its own, the map's checksum decides
    which split it belongs to, a third of all maps each; a task draws maps until one belongs to its own.

    Args:
        rows, columns: of the grids.
        num_obstacles: of each grid; all free cells stay connected.
        shared_obstacles: the same ones in all tasks of all splits, instead of others in each.
        start: the first cell, never a goal; ``None`` for any free cell but the goal, equally likely.
        horizon: environment steps of an episode.
        rewards: what moves are paid.
        observation, show_obstacles: what is seen, see :class:`~synrl_ray.envs.gridworld.Gridworlds`.
        validation_share, test_share: of the cells that may be goals; the others are for training.
        distribution_seed: decides which goals each split has, and shared obstacles.

    Raises:
        UserError: for shares that leave a split without goals, a negative seed, or as
            :meth:`~synrl_ray.envs.gridworld.Gridworlds.from_cells` and
            :func:`~synrl_ray.envs.gridworld_layout.random_layout`.

    Example:
        >>> tasks = GridworldDistribution(rows=5, columns=5, num_obstacles=4, horizon=30)
        >>> tasks.sample("train", range(20)).num_tasks
        20
        >>> {split: len(tasks.goals(split)) for split in ("train", "validation", "test")}
        {'train': 16, 'validation': 4, 'test': 5}
    """

    rows: int = 8
    columns: int = 8
    num_obstacles: int = 0
    shared_obstacles: bool = False
    start: Cell | None = None
    horizon: int = 50
    rewards: GridworldRewards = field(default_factory=GridworldRewards)
    observation: GridworldObservation = "one_hot"
    show_obstacles: bool = False
    validation_share: float = 0.15
    test_share: float = 0.2
    distribution_seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.rows, self.columns)
        if self.distribution_seed < 0:
            raise UserError(f"distribution_seed={self.distribution_seed} is negative", "choose 0 or more")
        shares = f"validation_share={self.validation_share}, test_share={self.test_share}"
        if min(self.validation_share, self.test_share) <= 0 or self.validation_share + self.test_share >= 1:
            raise UserError(f"{shares} leave a split without goals", "both are positive, their sum is below 1")
        if empty := [split for split, goals in self._goals.items() if not goals]:
            raise UserError(f"no goals are left for {empty[0]} ({shares})", "choose a larger grid, or other shares")
        for split in SPLITS:
            self.sample(split, [0])  # what else is wrong shows here

    def goals(self, split: Split) -> tuple[Cell, ...]:
        """The cells that may be goals of a split's tasks.

        Raises:
            UserError: for an unknown split.
        """
        checked(split, [0])
        return self._goals[split]

    def sample(self, split: Split, seeds: Sequence[int]) -> Gridworlds:
        """The tasks of these seeds, ``M = len(seeds)``.

        The same split and seed give the same task, whatever it is drawn together with.

        Raises:
            UserError: for an unknown split, no seeds, or seeds outside 0 … 2^62 - 1; or if the grid has no map that
                belongs to the split.
        """
        checked(split, seeds)
        maps, goals = zip(*(self._task(split, seed) for seed in seeds), strict=True)
        return Gridworlds.from_cells(
            np.stack(maps),
            goals,
            None if self.start is None else [self.start] * len(goals),
            horizon=self.horizon,
            rewards=self.rewards,
            observation=self.observation,
            show_obstacles=self.show_obstacles,
        )

    def _task(self, split: Split, seed: int) -> tuple[np.ndarray, Cell]:
        """Free cells ``[R, C]``, and the goal."""
        rng = task_generator(split, seed)
        goals = self._goals[split]
        goal = goals[rng.integers(len(goals))]
        if self._shared_map is not None:
            return self._shared_map, goal
        for _ in range(_TRIES):
            free = random_layout(self.rows, self.columns, self.num_obstacles, rng, {"goal": goal, **self._starts})
            if _split_of(free) == split:
                return free, goal
        problem = f"no map of {self.num_obstacles} obstacles was found for {split}"
        raise UserError(problem, "choose a larger grid or more obstacles, or shared_obstacles")

    @cached_property
    def _starts(self) -> dict[str, Cell]:
        return {} if self.start is None else {"start": self.start}

    @cached_property
    def _shared_map(self) -> np.ndarray | None:
        """``[R, C]``, ``None`` where each task has its own."""
        if self.num_obstacles and not self.shared_obstacles:
            return None
        rng = np.random.default_rng([self.distribution_seed, 1])
        return random_layout(self.rows, self.columns, self.num_obstacles, rng, self._starts)

    @cached_property
    def _goals(self) -> dict[Split, tuple[Cell, ...]]:
        shared = self._shared_map
        free = np.ones((self.rows, self.columns), np.bool_) if shared is None else shared.copy()
        for name, cell in self._starts.items():
            free.ravel()[cell_state(cell, free, name)] = False
        cells: list[Cell] = [(row, column) for row, column in np.argwhere(free).tolist()]
        shuffled = [cells[i] for i in np.random.default_rng([self.distribution_seed, 0]).permutation(len(cells))]
        first = round(self.validation_share * len(cells))
        second = first + round(self.test_share * len(cells))
        parts = {"train": shuffled[second:], "validation": shuffled[:first], "test": shuffled[first:second]}
        return {split: tuple(sorted(parts[split])) for split in SPLITS}


def _split_of(free: np.ndarray) -> Split:
    """The split that a map belongs to, from its bits alone."""
    return SPLITS[zlib.crc32(np.packbits(free).tobytes()) % len(SPLITS)]
