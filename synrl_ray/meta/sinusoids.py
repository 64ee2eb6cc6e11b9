r"""Regression of sinusoids, the first experiment of MAML.

.. math:: y = A \sin(x - \varphi), \qquad A \sim U[0.1, 5],\; \varphi \sim U[0, \pi],\; x \sim U[-5, 5]

References:
    Finn, Abbeel & Levine (2017), arXiv:1703.03400, section 5.1: 5, 10 or 20 samples, mean squared error; the sign of
    the phase is that of their code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synrl_ray.meta.losses import SquaredError
from synrl_ray.meta.tasks import Split, TaskBatch, TaskDistribution, uniforms

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)


@dataclass(frozen=True)
class SinusoidDistribution(TaskDistribution):
    """Sinusoids of random amplitude and phase; splits are separate random streams of both.

    Args:
        shots: samples of a support set.
        query_shots: samples of a query set; ``None`` takes as many as ``shots``.

    Raises:
        ValueError: for numbers of samples below 1.

    Shape:
        support ``[M, shots, 1]``, query ``[M, query_shots, 1]``, float32.

    Example:
        >>> batch = SinusoidDistribution(shots=5).sample("train", seeds=range(3))
        >>> tuple(batch.support_x.shape), bool(batch.query_y.abs().max() <= 5)
        ((3, 5, 1), True)
    """

    shots: int = 10
    query_shots: int | None = None

    def __post_init__(self) -> None:
        if self.shots < 1 or (self.query_shots is not None and self.query_shots < 1):
            raise ValueError(f"a sinusoid needs samples, got shots={self.shots}, query_shots={self.query_shots}")

    def sample(self, split: Split, seeds: Sequence[int]) -> TaskBatch:
        """Draw sinusoids; :class:`TaskDistribution` has the arguments."""
        num_queries = self.query_shots or self.shots
        drawn = uniforms(split, seeds, 2 + self.shots + num_queries)
        amplitude, phase = _within(AMPLITUDES, drawn[:, :1]), _within(PHASES, drawn[:, 1:2])
        x = _within(INPUTS, drawn[:, 2:])
        y = amplitude * np.sin(x - phase)
        xs, ys = (torch.from_numpy(a.astype(np.float32)).unsqueeze(-1) for a in (x, y))
        k = self.shots
        return TaskBatch(xs[:, :k], ys[:, :k], xs[:, k:], ys[:, k:], SquaredError(), tuple(map(int, seeds)))


def _within(bounds: tuple[float, float], drawn: np.ndarray) -> np.ndarray:
    low, high = bounds
    return low + (high - low) * drawn
