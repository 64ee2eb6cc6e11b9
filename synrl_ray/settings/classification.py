"""An experiment of image classification."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval

from synrl_ray.settings.base import BaseExperiment, BaseTarget
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.classifiers import AnnClassifier, ClassifierConfig, SpikingClassifier
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.rates import RatePenalty
from synrl_ray.settings.types import AsTuple, Count, Fraction, NonNegative, Positive, Precision


@settings_class
class Mnist:
    """Handwritten digits (LeCun, Cortes, Burges), the official training and test sets."""

    digits: Annotated[tuple[int, ...], AsTuple] | Literal["all"] = "all"
    """Which digits are told apart."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The digits as numbers."""
        return tuple(range(10)) if self.digits == "all" else self.digits


@settings_class
class Supervised(RatePenalty):
    """Cross-entropy on the readout by Adam, with a cosine schedule."""

    name: Literal["supervised"] = "supervised"
    lr: Positive = 2e-3
    """Learning rate at the start."""
    batch_size: Count = 128
    """Images of each step of the optimiser."""
    weight_decay: NonNegative = 0.0
    """Of AdamW."""
    max_shift: Annotated[int, Interval(ge=0, le=8)] = 0
    """Augmentation: training images are moved by up to this many pixels; 0 for none."""
    precision: Precision = "float32"
    """Of the matrix products and convolutions of training passes; all else, and judging, is in float32."""


@settings_class
class Epochs:
    """When training ends."""

    epochs: Count
    """Passes over the training images, after which training ends."""

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.epochs} epochs"


@settings_class
class AccuracyTarget(BaseTarget):
    """The accuracy on the test set to reach, and where the figure comes from."""

    accuracy: Fraction


@settings_class
class ClassificationExperiment(BaseExperiment):
    """Images to classes."""

    kind: Literal["classification"] = "classification"
    data: Mnist
    spiking: SpikingClassifier
    ann: AnnClassifier
    algorithm: Supervised
    stopping: Epochs
    target: AccuracyTarget | None = None

    @property
    def group(self) -> str:
        """Of all data."""
        return "Classification"

    def policy(self, kind: PolicyKind) -> ClassifierConfig:
        """The classifier of that kind."""
        return self.spiking if kind == "spiking" else self.ann
