"""Readouts of the whole of an observation's simulation; that of its end is :class:`synrl_ray.snn.LeakyReadout`.

Legend: E observations of K simulation steps each, B batch, O outputs.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from synrl_ray.snn.masks import at_first_step
from synrl_ray.snn.neurons import LIF, LeakyReadout, integrated
from synrl_ray.snn.scan import Kernel

Reduction = Literal["last", "max", "mean"]


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
) -> LeakyReadout | MembraneReadout:
    """The readout that takes the last, highest or mean membrane of an observation.

    Raises:
        ValueError: for another one.
    """
    if how == "last":
        return LeakyReadout(in_features, out_features, beta=beta, hold=hold, kernel=kernel)
    if how not in get_args(Reduction):
        raise ValueError(f"unknown readout {how!r}: choose one of {', '.join(get_args(Reduction))}")
    return MembraneReadout(in_features, out_features, how, beta=beta, hold=hold, kernel=kernel)
