"""The third factor: rewards against their prediction, and where in the fragment they arrive."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from synrl_ray.settings.plasticity import RewardPrediction

logger = logging.getLogger(__name__)


class PredictionError(NamedTuple):
    """Rewards against their running mean."""

    error: Tensor
    """``[E, B]``"""
    mean: Tensor
    """``[B]``, after the last step"""
    num_skipped: int
    """Rewards that were not finite."""


def reward_prediction_error(
    reward: Tensor, mean: Tensor, config: RewardPrediction, valid: Tensor | None = None
) -> PredictionError:
    r"""Reward less its running mean, one mean per environment.

    .. math:: m_e = R_e - \bar R_{e-1}, \qquad \bar R_e = \bar R_{e-1} + \rho\, m_e

    The error is taken before the mean moves. The mean lives on across episodes: it predicts what a step is worth
    under the present behaviour. Where a critic is at hand, its TD error takes the place of this.

    Args:
        reward: of each environment step. One that is not finite gives no error, leaves the mean, and is counted.
        mean: before the first step; zeros to begin with.
        config: share :math:`\rho` of the newest reward.
        valid: false where a step is no transition; such a step gives no error and leaves the mean.

    Shape:
        reward ``[E, B]``, mean ``[B]``, valid ``[E, B]`` → error ``[E, B]``, mean ``[B]``.

    Raises:
        ValueError: for tensors that do not fit.

    References:
        Frémaux & Gerstner (2016), doi:10.3389/fncir.2015.00085.

    Example:
        >>> reward_prediction_error(torch.ones(2, 1), torch.zeros(1), RewardPrediction(rate=0.5)).error.tolist()
        [[1.0], [0.5]]
    """
    if reward.dim() != 2 or mean.shape != reward.shape[1:] or (valid is not None and valid.shape != reward.shape):
        raise ValueError(
            f"reward must be [E, B], its mean [B] and valid [E, B], got {tuple(reward.shape)}, {tuple(mean.shape)}"
            f"{'' if valid is None else f', {tuple(valid.shape)}'}"
        )
    counts = torch.ones_like(reward, dtype=torch.bool) if valid is None else valid
    cleaned, num_skipped = finite_or_zero(torch.where(counts, reward, 0).to(mean.dtype), "reward")
    counts = counts & torch.isfinite(reward)
    error = torch.zeros_like(cleaned)
    for e in range(reward.shape[0]):
        error[e] = torch.where(counts[e], cleaned[e] - mean, 0)
        mean = mean + config.rate * error[e]
    return PredictionError(error, mean, num_skipped)


def finite_or_zero(values: Tensor, name: str) -> tuple[Tensor, int]:
    """Values ``[T, B]`` with zeros where they are not finite, and how many those are; the first one is logged."""
    bad = ~torch.isfinite(values)
    num_bad = int(bad.sum())
    if num_bad == 0:
        return values, 0
    step, row = torch.nonzero(bad)[0].tolist()
    logger.warning(
        "%s is %s at step %d in environment %d: %d update(s) skipped",
        name,
        values[step, row].item(),
        step,
        row,
        num_bad,
    )
    return values.masked_fill(bad, 0), num_bad


def at_last_step(values: Tensor, num_steps: int) -> Tensor:
    """``[E, B]`` → ``[E*K, B]``: what an environment step gives arrives at its last simulation step.

    Args:
        values: modulator of each environment step.
        num_steps: K, simulation steps for each of them.

    Raises:
        ValueError: if ``num_steps`` is below 1.

    Example:
        >>> at_last_step(torch.tensor([[1.0], [2.0]]), 2).flatten().tolist()
        [0.0, 1.0, 0.0, 2.0]
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1, got {num_steps}")
    spread = values.new_zeros(values.shape[0], num_steps, values.shape[1])
    spread[:, -1] = values
    return spread.flatten(0, 1)
