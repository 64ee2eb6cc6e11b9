"""What a classifier looks like, as plain data (no torch import)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.policies import SpikingLayers
from synrl_ray.settings.types import Sizes, Steps

Architecture = Literal["mlp", "conv"]


@settings_class
class ClassifierLayout:
    """What spiking and non-spiking classifiers share."""

    architecture: Architecture = "mlp"
    """Fully connected, or strided convolutions before a fully connected layer."""
    hidden_sizes: Sizes = (256,)
    """Neurons or units of the fully connected layers."""
    channels: Sizes = (16, 32)
    """Filters of the convolutions; used by ``conv``, with the last of ``hidden_sizes``."""


@settings_class
class SpikingClassifier(ClassifierLayout, SpikingLayers):
    """LIF layers on currents or spikes; the class is the largest membrane of the readout at the end."""

    kind: Literal["spiking"] = "spiking"
    steps_per_observation: Steps = 8
    """Simulation steps for each image."""
    encoder: Literal["current", "latency"] = "current"
    """Brightness as a constant current, or as the time of a pixel's only spike, the earlier the brighter."""

    def __post_init__(self) -> None:
        """Refuse what only the training of policies measures."""
        super().__post_init__()
        if self.norm == "running":
            raise ValueError("norm=running is measured on rollouts of policies: set norm=layer")


@settings_class
class AnnClassifier(ClassifierLayout):
    """The non-spiking twin: the same layers with a pointwise activation."""

    kind: Literal["ann"] = "ann"


ClassifierConfig = Annotated[SpikingClassifier | AnnClassifier, Discriminator("kind")]
