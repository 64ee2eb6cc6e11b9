"""From spikes and membranes over time to one value per observation.

Legend: E observations of K simulation steps each, T = E*K, B batch, N neurons, O outputs, A actions, M neurons each.
The readout that networks use, the membrane at the end, is :class:`synrl_ray.snn.LeakyReadout`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.neurons import LIF

Reduction = Literal["last", "max", "mean"]


def over_steps(values: Tensor, num_steps: int, how: Reduction | Literal["sum"]) -> Tensor:
    """Reduce each observation's K simulation steps: ``[E*K, B, N]`` → ``[E, B, N]``.

    ``"last"``, ``"max"`` and ``"mean"`` of membranes are the usual readouts; ``"sum"`` of spikes is their count.

    Raises:
        ValueError: for an unknown reduction or steps that do not divide.

    Example:
        >>> over_steps(torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1), 2, "sum").flatten().tolist()
        [1.0, 2.0]
    """
    if num_steps < 1 or values.shape[0] % num_steps:
        raise ValueError(f"{values.shape[0]} simulation steps are not observations of {num_steps} steps each")
    steps = values.unflatten(0, (-1, num_steps))
    if how == "last":
        return steps[:, -1]
    if how == "max":
        return steps.amax(1)
    if how == "mean":
        return steps.mean(1)
    if how == "sum":
        return steps.sum(1)
    raise ValueError(f"unknown reduction {how!r}: choose one of last, max, mean, sum")


class MembraneReadout(nn.Module):
    """Leaky integrator without spikes, read out as the last, highest or mean membrane of an observation.

    For ``"last"``, :class:`synrl_ray.snn.LeakyReadout` gives the same at a fraction of the cost.

    Args:
        in_features, out_features: of the linear map.
        how: the reduction over an observation's simulation steps.
        beta: decay per simulation step in [0, 1].
        hold: K, simulation steps per observation.

    Shape:
        spikes ``[E*K, B, in_features]``, membrane ``[B, O]``, reset_mask ``[E, B]``
        → outputs ``[E, B, O]``, membrane ``[B, O]``.
    """

    def __init__(
        self, in_features: int, out_features: int, *, how: Reduction = "last", beta: float = 0.9, hold: int = 1
    ) -> None:
        super().__init__()
        if how not in get_args(Reduction):
            raise ValueError(f"unknown reduction {how!r}: choose one of {', '.join(get_args(Reduction))}")
        self.linear = nn.Linear(in_features, out_features)
        self.integrator = LIF(beta, reset="none")
        self.how: Reduction = how
        self.hold = hold

    def forward(
        self, spikes: Tensor, membrane: Tensor | None = None, reset_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs and the membrane after the last step."""
        mask = at_first_step(reset_mask, self.hold)
        _, membranes = self.integrator.scan(self.linear(spikes), membrane, mask)
        return over_steps(membranes, self.hold, self.how), membranes[-1]


def population_vector(activity: Tensor, low: Tensor, high: Tensor) -> Tensor:
    r"""Decode continuous actions from populations: ``[..., A * M]`` → ``[..., A]``.

    .. math:: a = \sum_m r_m \mu_m \Big/ \sum_m r_m, \qquad \mu_m \text{ evenly from low to high}

    A population that is silent decodes to the middle of its range.

    Args:
        activity: spike counts or rates, not negative.
        low, high: range of every action ``[A]``.

    Raises:
        ValueError: if the populations do not divide over the actions or an activity is negative.

    Example:
        >>> population_vector(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([-1.0]), torch.tensor([1.0])).item()
        0.5
    """
    num_actions = low.shape[0]
    if low.dim() != 1 or high.shape != low.shape or activity.shape[-1] % num_actions:
        raise ValueError(
            f"activity {tuple(activity.shape)} does not divide over ranges {tuple(low.shape)} and {tuple(high.shape)}"
        )
    if bool((activity < 0).any()):
        raise ValueError("activity must not be negative")
    populations = activity.unflatten(-1, (num_actions, -1))
    grid = torch.linspace(0, 1, populations.shape[-1], dtype=activity.dtype, device=activity.device)
    total = populations.sum(-1)
    position = torch.where(total > 0, (populations * grid).sum(-1) / total.clamp_min(1e-12), 0.5)
    return low + position * (high - low)
