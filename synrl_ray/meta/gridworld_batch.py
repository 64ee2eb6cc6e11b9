"""Gridworlds together with the random numbers that they are played with.

Those of a task are a function of its split, its seed and the time they are for. So its episodes are the same whatever
it is drawn together with, which lets any number of workers share a meta-batch.

Legend: M tasks, S states, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from synrl_ray.envs.gridworld import Gridworlds
from synrl_ray.meta.gridworld_layouts import LayoutDistribution
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.tasks import Split, uniforms


@dataclass(frozen=True, eq=False)
class GridworldBatch:
    """M tasks.

    Args:
        grids: their dynamics.
        split, seeds: what they were drawn by.
    """

    grids: Gridworlds
    split: Split
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)

    @cached_property
    def observations(self) -> Tensor:
        """What is seen of each state, ``[M, S, D]``."""
        return self.grids.all_observations()

    def uniforms(self, count: int, stream: int) -> np.ndarray:
        """Numbers in [0, 1), ``[M, count]``, others for each positive stream; the task itself may be drawn from 0."""
        return uniforms(self.split, self.seeds, count, stream)


@dataclass(frozen=True)
class PlayedGridworlds:
    """A distribution of such batches.

    Example:
        >>> batch = PlayedGridworlds(GridworldDistribution(rows=5, columns=5)).sample("train", [3, 8])
        >>> len(batch), batch.uniforms(10, stream=1).shape
        (2, (2, 10))
    """

    tasks: GridworldDistribution | LayoutDistribution

    def sample(self, split: Split, seeds: Sequence[int]) -> GridworldBatch:
        """The tasks of these seeds; errors are those of :meth:`GridworldDistribution.sample`."""
        return GridworldBatch(self.tasks.sample(split, seeds), split, tuple(map(int, seeds)))
