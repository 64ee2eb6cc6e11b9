"""A classifier on raw images.

Legend: B batch, C classes, K simulation steps, N neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from synrl_ray.policies.given import pixels_from
from synrl_ray.policies.layers import layer_options
from synrl_ray.settings.classifiers import ClassifierConfig, SpikingClassifier
from synrl_ray.snn import CNN, MLP, SpikingCNN, SpikingMLP
from synrl_ray.snn.encoders import LatencyCode
from synrl_ray.snn.rates import rates_of
from synrl_ray.snn.readouts import RateReadout

_IMAGE, _BRIGHTNESS = (28, 28), (0.0, 1.0)


class Classifier(nn.Module):
    """Logits from images.

    Args:
        config: spiking or ann, fully connected or convolutional.
        classes: what the outputs stand for.

    Shape:
        images ``[B, 28, 28]``, whole numbers from 0 to 255 of any type → logits ``[B, C]``.

    Raises:
        InputError: for images of another shape, or other numbers; a ``ValueError``.
    """

    def __init__(self, config: ClassifierConfig, classes: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.network = _network(config, len(self.classes))
        self.code = None
        if isinstance(config, SpikingClassifier) and (config.architecture, config.encoder) == ("conv", "latency"):
            self.code = LatencyCode(*_BRIGHTNESS, config.steps_per_observation)

    def forward(self, images: Any) -> Tensor:
        """Logits; the spiking readout's membrane after the last simulation step."""
        features = self.features(images)
        if not features.shape[1]:
            return features.new_zeros(0, len(self.classes))
        logits: Tensor = self.network(features)[0][0]
        return logits

    def with_rates(self, images: Any) -> tuple[Tensor, Tensor]:
        """Logits ``[B, C]`` of at least one image, and the firing rate ``[B, L]`` of each of L spiking layers."""
        features = self.features(images)
        if not isinstance(self.network, (SpikingMLP, SpikingCNN)):
            return self.network(features)[0][0], features.new_zeros(features.shape[1], 0)
        outputs, _, spikes = self.network.forward_with_spikes(features)
        return outputs[0], rates_of(spikes, 1)[0]

    def features(self, images: Any) -> Tensor:
        """One observation for each image, brightness in [0, 1]: ``[1, B, 784]``, or ``[1, B, 1, 28, 28]``.

        Latencies of maps are spikes here, ``[K, B, 1, 28, 28]``; fully connected networks make their own.
        """
        brightness = pixels_from(images, _IMAGE).to(torch.get_default_dtype()).div(255).unsqueeze(0)
        if self.config.architecture == "mlp":
            return brightness.flatten(2)
        maps = brightness.unsqueeze(2)
        return maps if self.code is None else self.code(maps)

    def activity(self, images: Any) -> tuple[list[Tensor], Tensor]:
        """What a spiking classifier does with images.

        Returns:
            Spikes ``[K, B, N]`` of every spiking layer, and the readout's membrane ``[K, B, C]`` at every step; of
            firing rates, what those of the steps so far say.

        Raises:
            ValueError: for a classifier that does not spike.
        """
        if not isinstance(self.network, (SpikingMLP, SpikingCNN)):
            raise ValueError("this classifier does not spike")
        spikes = self.network.forward_with_spikes(self.features(images))[2]
        readout, beta = self.network.readout, self.config.readout_beta  # type: ignore[union-attr]
        if isinstance(readout, RateReadout):
            steps = torch.arange(1, len(spikes[-1]) + 1).view(-1, 1, 1)
            return spikes, readout.linear(spikes[-1].cumsum(0) / steps)
        membrane, trace = torch.zeros(()), []
        for current in readout.linear(spikes[-1]):
            membrane = beta * membrane + current
            trace.append(membrane)
        return spikes, torch.stack(trace)


def _network(config: ClassifierConfig, num_classes: int) -> SpikingMLP | SpikingCNN | MLP | CNN:
    # Strides halve the maps, so that no pooling is needed: 28 -> 12 -> 5 for two layers.
    convolutions = [(channels, 5 if layer == 0 else 3, 2) for layer, channels in enumerate(config.channels)]
    num_pixels = _IMAGE[0] * _IMAGE[1]
    if not isinstance(config, SpikingClassifier):
        if config.architecture == "conv":
            return CNN((1, *_IMAGE), num_classes, shape=convolutions, hidden_size=config.hidden_sizes[-1])
        return MLP(num_pixels, config.hidden_sizes, num_classes)
    options, codes = layer_options(config), config.encoder == "latency"
    if config.architecture == "mlp":
        options["latency"] = _BRIGHTNESS if codes else None
        return SpikingMLP(num_pixels, config.hidden_sizes, num_classes, **options)
    options |= {"shape": convolutions, "hidden_size": config.hidden_sizes[-1]}
    return SpikingCNN((1, *_IMAGE), num_classes, inputs="spikes" if codes else "currents", **options)
