"""What a classifier looks like, as plain data (no torch import)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, MinLen

Sizes = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Architecture = Literal["mlp", "conv"]


@dataclass(frozen=True, kw_only=True)
class SpikingClassifier:
    """LIF layers on a constant input current; the class is the largest membrane of the readout at the end."""

    kind: Literal["spiking"] = "spiking"
    architecture: Architecture = "mlp"
    """Fully connected, or strided convolutions before a fully connected layer."""
    hidden_sizes: Sizes = (256,)
    """Neurons of the fully connected layers."""
    channels: Sizes = (16, 32)
    """Filters of the convolutions; used by ``conv``, with the last of ``hidden_sizes``."""
    steps_per_observation: Annotated[int, Ge(1)] = 8
    """Simulation steps for each image."""
    beta: Fraction = 0.9
    """Membrane decay per simulation step, in [0, 1]."""
    threshold: Annotated[float, Gt(0)] = 1.0
    learn_beta: bool = False
    learn_threshold: bool = False
    reset: Literal["subtract", "zero", "none"] = "subtract"
    surrogate: Literal["fast_sigmoid", "atan", "sigmoid", "straight_through"] = "fast_sigmoid"
    surrogate_slope: Annotated[float, Gt(0)] | None = None
    readout_beta: Fraction = 0.9


@dataclass(frozen=True, kw_only=True)
class AnnClassifier:
    """The non-spiking twin: the same layers with a pointwise activation."""

    kind: Literal["ann"] = "ann"
    architecture: Architecture = "mlp"
    hidden_sizes: Sizes = (256,)
    channels: Sizes = (16, 32)


ClassifierConfig = SpikingClassifier | AnnClassifier
