"""Firing rates of whole layers in each observation, and what a loss may add for high ones.

Legend: E observations of K simulation steps, B batch, N neurons, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rates_of(spikes: Sequence[Tensor], num_observations: int) -> Tensor:
    """Spikes in each neuron and simulation step of every layer ``[E, B, L]``.

    Args:
        spikes: of each layer ``[E*K, B, N]``; at least one.
        num_observations: E.

    Example:
        >>> rates_of([torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])], 1)  # K = 2 steps of B = 1 row and N = 2 neurons
        tensor([[[0.7500]]])
    """
    return torch.stack([s.mean(2).unflatten(0, (num_observations, -1)).mean(1) for s in spikes], dim=-1)


def excess(rates: Tensor, target: float) -> Tensor:
    r"""How much layers fire beyond a target: :math:`\frac{1}{L} \sum_l \max(0, r_l - r^*)^2`.

    An upper bound on the activity of each layer as a whole in each sample, of the kind of Zenke & Vogels (2021),
    "The remarkable robustness of surrogate gradient learning", doi:10.1162/neco_a_01367: which neurons fire is left to
    the task, and what fires less than the target is left alone.

    Args:
        rates: ``[..., L]``; without layers there is nothing to pay for.
        target: from 0 to 1.

    Returns:
        ``[...]``.

    Example:
        >>> excess(torch.tensor([[0.3, 0.05], [0.0, 0.15]]), 0.05)
        tensor([0.0312, 0.0050])
    """
    return (rates - target).clamp(min=0).square().sum(-1) / max(1, rates.shape[-1])
