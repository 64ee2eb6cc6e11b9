"""Readouts of the whole of an observation's simulation; that of its end is :class:`synrl_ray.snn.LeakyReadout`.

Legend: E observations of K simulation steps each, B batch, N neurons, O outputs, M neurons for each of them.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.neurons import LIF, LeakyReadout, integrated
from synrl_ray.snn.scan import Kernel

Reduction = Literal["last", "max", "mean", "spikes", "population"]
_OF_MEMBRANES = ("max", "mean")


class RateReadout(nn.Module):
    r"""A linear map of firing rates: of the last layer's, or of a population of neurons for each output.

    .. math:: y_o = b_o + \sum_n W_{on} \frac1K \sum_k s_{k,n}

    Nothing is carried from one observation to the next.

    Args:
        linear: the map ``W``: ``nn.Linear``, or :class:`PopulationDecoder`.
        how: ``"spikes"`` or ``"population"``.
        hold: K, simulation steps per observation.

    Shape:
        spikes ``[E*K, B, N]``, state ``[B, 0]`` → outputs ``[E, B, O]``, state ``[B, 0]``.

    Example:
        >>> readout = RateReadout(PopulationDecoder(2, 3), "population", 4)
        >>> tuple(readout(torch.ones(8, 5, 6), torch.zeros(5, 0))[0].shape)
        (2, 5, 2)
    """

    state_size = 0

    def __init__(self, linear: nn.Module, how: Reduction, hold: int) -> None:
        super().__init__()
        self.linear = linear
        self.how: Reduction = how
        self.hold = hold

    def forward(self, spikes: Tensor, state: Tensor, reset_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs; there is no state to change."""
        return self.linear(spikes.unflatten(0, (-1, self.hold)).mean(1)), state


class PopulationDecoder(nn.Module):
    r"""Each output is a linear function of the firing rates of a population of its own.

    .. math:: y_o = b_o + \sum_{m=1}^M w_{om} r_{om}

    Args:
        num_outputs, num_neurons: O, and M for each of them.

    Shape:
        rates ``[..., O * M]`` → ``[..., O]``.

    References:
        Tang, Kumar, Yoo & Michmizos (2020), "Deep reinforcement learning with population-coded spiking neural network
        for continuous control", arXiv:2010.09635, section 3.3.
    """

    def __init__(self, num_outputs: int, num_neurons: int) -> None:
        super().__init__()
        bound = num_neurons**-0.5  # as of a linear map from M inputs
        self.weight = nn.Parameter(torch.empty(num_outputs * num_neurons).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_outputs).uniform_(-bound, bound))

    def forward(self, rates: Tensor) -> Tensor:
        """Return the outputs."""
        return (rates * self.weight).unflatten(-1, (self.bias.shape[0], -1)).sum(-1) + self.bias


class MembraneReadout(nn.Module):
    """Leaky integrator without spikes, read out as the highest or mean membrane of an observation.

    Args:
        in_features, out_features: of the linear map.
        how: ``"max"`` or ``"mean"``.
        beta: decay per simulation step in [0, 1].
        hold: K, simulation steps per observation.
        kernel: of the integrator, see :func:`synrl_ray.snn.lif_scan`.

    Shape:
        spikes ``[E*K, B, in_features]``, membrane ``[B, O]``, reset_mask ``[E, B]``
        → outputs ``[E, B, O]``, membrane ``[B, O]`` after the last step.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        how: Reduction,
        *,
        beta: float = 0.9,
        hold: int = 1,
        kernel: Kernel = "auto",
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.integrator = LIF(beta, reset="none", kernel=kernel)
        self.state_size = out_features
        self.how: Reduction = how
        self.hold = hold

    def forward(self, spikes: Tensor, membrane: Tensor, reset_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs and the membrane after the last step."""
        mask = at_first_step(reset_mask, self.hold)
        membranes = integrated(self.integrator, self.linear(spikes), membrane, mask)
        steps = membranes.unflatten(0, (-1, self.hold))
        return steps.amax(1) if self.how == "max" else steps.mean(1), membranes[-1]


def make_readout(
    how: Reduction, in_features: int, out_features: int, *, beta: float, hold: int, kernel: Kernel
) -> LeakyReadout | MembraneReadout | RateReadout:
    """The readout that takes the last, highest or mean membrane of an observation, or firing rates.

    With ``"population"`` the last layer's neurons are those of :func:`population_of`.

    Raises:
        ValueError: for another one.
    """
    if how == "last":
        return LeakyReadout(in_features, out_features, beta=beta, hold=hold, kernel=kernel)
    if how == "spikes":
        return RateReadout(nn.Linear(in_features, out_features), how, hold)
    if how == "population":
        return RateReadout(PopulationDecoder(out_features, in_features // out_features), how, hold)
    if how not in _OF_MEMBRANES:
        raise ValueError(f"unknown readout {how!r}: choose one of {', '.join(get_args(Reduction))}")
    return MembraneReadout(in_features, out_features, how, beta=beta, hold=hold, kernel=kernel)


def population_of(how: Reduction, out_features: int, num_neurons: int) -> list[int]:
    """The spiking layer that a readout adds behind the hidden ones, if it does: M neurons for each output."""
    return [out_features * num_neurons] if how == "population" else []
