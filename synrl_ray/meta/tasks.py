"""Task distributions: a task is a pure function of a split and a seed.

The splits are disjoint because no two of them share a random stream: what a seed draws comes from
:func:`uniforms` or :func:`task_generator`, and both take the split into their key, one to one. Where tasks are made of
parts that could recur, such as classes, a distribution divides those parts among the splits itself.

Legend: M tasks, K samples of a task's support or query set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synrl_ray.errors import UserError
from synrl_ray.meta.losses import TaskLoss

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MAX_SEED = 2**62 - 1  # so that three splits of them fit 64 bits

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = 0xD1B54A32D192ED03  # odd, so that no two streams of a seed start alike
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True)
class TaskBatch:
    """M tasks of equal size.

    Args:
        support_x: ``[M, K, ...]``, what a task is learned from.
        support_y: ``[M, K, ...]``.
        query_x: ``[M, K', ...]``, what the adapted parameters are judged by.
        query_y: ``[M, K', ...]``.
        loss: of both.
        seeds: the M seeds, by which a task can be drawn again.

    Raises:
        ValueError: for tensors and seeds that are not of the same M tasks.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    loss: TaskLoss
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("support", "query"):
            x, y = getattr(self, f"{name}_x"), getattr(self, f"{name}_y")
            if x.shape[:1] != (len(self.seeds),) or x.shape[:2] != y.shape[:2] or x.dim() < 2 or not x.numel():
                found = f"x {tuple(x.shape)} and y {tuple(y.shape)}"
                raise ValueError(f"{name} sets of {len(self.seeds)} tasks cannot be {found}: [M, K, ...] is needed")

    def __len__(self) -> int:
        return len(self.seeds)

    def chunks(self, size: int | None) -> Iterator[TaskBatch]:
        """The same tasks, up to ``size`` of them at a time."""
        size = size or len(self)
        if size >= len(self):
            yield self
            return
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield TaskBatch(
                self.support_x[part],
                self.support_y[part],
                self.query_x[part],
                self.query_y[part],
                self.loss,
                self.seeds[part],
            )

    def to(self, target: torch.device | torch.dtype) -> TaskBatch:
        """On another device, or with floating-point tensors in another type."""

        def moved(x: Tensor) -> Tensor:
            return x.to(target) if isinstance(target, torch.device) or x.is_floating_point() else x

        return replace(
            self,
            support_x=moved(self.support_x),
            support_y=moved(self.support_y),
            query_x=moved(self.query_x),
            query_y=moved(self.query_y),
        )


class TaskDistribution(ABC):
    """Draws tasks by seed from one of three disjoint splits."""

    @abstractmethod
    def sample(self, split: Split, seeds: Sequence[int]) -> TaskBatch:
        """The tasks of these seeds.

        The same split and seed give the same task, whatever it is drawn together with.

        Raises:
            UserError: for an unknown split, no seeds, or seeds outside 0 … 2^62 - 1.
        """


def checked(split: Split, seeds: Sequence[int]) -> int:
    """The split's number, if such tasks can be drawn.

    Raises:
        UserError: as :meth:`TaskDistribution.sample`.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}", f"choose one of {', '.join(SPLITS)}")
    if not seeds:
        raise UserError("no seeds to draw tasks from", "give at least one")
    if min(seeds) < 0 or max(seeds) > MAX_SEED:
        wrong = min(seeds) if min(seeds) < 0 else max(seeds)
        raise UserError(f"a task's seed cannot be {wrong}", f"seeds are 0 to {MAX_SEED}")
    return SPLITS.index(split)


def task_generator(split: Split, seed: int) -> np.random.Generator:
    """A generator of its own for each split and seed.

    Raises:
        UserError: as :meth:`TaskDistribution.sample`.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(checked(split, [seed]),)))


def uniforms(split: Split, seeds: Sequence[int], count: int, stream: int = 0) -> NDArray[np.float64]:
    """Numbers in [0, 1), ``[M, count]``: for each seed a stream of its own, all in one pass.

    SplitMix64 of Steele, Lea & Flood (2014), doi:10.1145/2714064.2660195. Seed and split are mixed, one to one, into
    the start of a stream. For distributions that need few numbers: a NumPy generator for each of 25 sinusoids would
    take as long as the meta-iteration that they are for.

    Args:
        split, seeds: as of tasks.
        count: of each seed's numbers.
        stream: which of a seed's streams, for numbers that are needed at several times.

    Raises:
        UserError: as :meth:`TaskDistribution.sample`.
    """
    number = checked(split, seeds)
    key = np.asarray(seeds, dtype=np.uint64) * np.uint64(len(SPLITS)) + np.uint64(number)
    start = _mixed(key * _GOLDEN + _GOLDEN)
    if stream:
        start = _mixed(start + np.uint64(stream * _STREAM % 2**64))
    bits = _mixed(start[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    return z ^ (z >> np.uint64(31))
