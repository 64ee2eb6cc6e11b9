"""Observations in units of their own spread, measured while the policy learns.

Legend: F features, or the shape ``C, H, W`` of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BOUND = 10.0
"""Deviations from the mean that a feature is clipped to."""
LEAST_VARIANCE = 1e-8


class ObservationNormaliser(nn.Module):
    r"""Subtracts the running mean and divides by the running standard deviation of each feature.

    .. math:: x \mapsto \mathrm{clip}\big((x - \mu) / \sqrt{\sigma^2 + 10^{-8}},\; -10,\; 10\big)

    Mean and variance are buffers: saved with the policy, checkpointed with the learner and sent with the weights. They
    change only through :meth:`update`, so that a stored rollout is replayed exactly. Before the first update
    observations pass as they are.

    Args:
        shape: of an observation's features ``[F]``.

    Example:
        >>> normaliser = ObservationNormaliser((1,))
        >>> normaliser.update(torch.tensor([[1.0], [3.0]]))
        >>> normaliser(torch.tensor([[2.0], [4.0]])).tolist()
        [[0.0], [2.0]]
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise ``[..., F]``."""
        return (features - self.mean).div_(self.deviation).clamp(-BOUND, BOUND)  # in place: images are large

    @property
    def deviation(self) -> Tensor:
        """What features are divided by, ``[F]``."""
        return (self.variance + LEAST_VARIANCE).sqrt()

    def clips(self, features: Tensor) -> Tensor:
        """Which of ``[n, F]`` lie beyond the bound, ``[n]`` bool."""
        return (((features - self.mean) / self.deviation).abs() > BOUND).any(dim=-1)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Add ``[n, F]`` to what mean and variance are of.

        References:
            Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample variances".
        """
        num_added = len(features)
        if not num_added:
            return
        from_first = features - features[0]  # what never changes has exactly its value as mean
        offset = from_first.mean(0)
        spread = from_first.sub_(offset).square_().mean(0)  # torch.var_mean takes six times as long
        mean, variance = (features[0] + offset).to(torch.float64), spread.to(torch.float64)
        if not bool(torch.isfinite(spread).all()):  # it takes larger numbers
            variance, mean = (moment.to(torch.float64) for moment in torch.var_mean(features, 0, correction=0))
        before, total = float(self.count), float(self.count) + num_added
        shift = mean - self.mean
        squares = variance * num_added + shift.square() * (before * num_added / total)
        if before:
            squares += self.variance.to(torch.float64) * before
        self.mean += (shift * (num_added / total)).to(self.mean.dtype)
        self.variance.copy_(squares / total)
        self.count.fill_(total)
