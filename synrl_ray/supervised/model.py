"""A classifier on raw images, and its files: safetensors for weights, JSON for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from synrl_ray.snn import MLP, SpikingMLP, Surrogate
from synrl_ray.supervised.config import ClassifierConfig, SpikingClassifier

_IMAGE = (28, 28)


class Classifier(nn.Module):
    """Logits from images.

    Args:
        config: spiking or ann.
        classes: what the outputs stand for.

    Shape:
        images ``[B, 28, 28]`` uint8 → logits ``[B, C]``.

    Raises:
        ValueError: if the images have another shape.
    """

    def __init__(self, config: ClassifierConfig, classes: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.network = _network(config, len(self.classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits; the spiking readout's membrane after the last simulation step."""
        logits: Tensor = self.network(self.features(images))[0][0]
        return logits

    def features(self, images: Tensor) -> Tensor:
        """``[B, 28, 28]`` → ``[1, B, 784]``: one observation for each image, brightness in [0, 1]."""
        if images.dim() != 3 or tuple(images.shape[1:]) != _IMAGE:
            raise ValueError(f"images must be [B, 28, 28], got {tuple(images.shape)}")
        return images.flatten(1).to(torch.get_default_dtype()).div(255).unsqueeze(0)


def _network(config: ClassifierConfig, num_classes: int) -> SpikingMLP | MLP:
    num_pixels = _IMAGE[0] * _IMAGE[1]
    if not isinstance(config, SpikingClassifier):
        return MLP(num_pixels, config.hidden_sizes, num_classes)
    return SpikingMLP(
        num_pixels,
        config.hidden_sizes,
        num_classes,
        steps_per_observation=config.steps_per_observation,
        beta=config.beta,
        threshold=config.threshold,
        surrogate=Surrogate(config.surrogate, config.surrogate_slope),
        reset=config.reset,
        learn_beta=config.learn_beta,
        learn_threshold=config.learn_threshold,
        readout_beta=config.readout_beta,
    )
