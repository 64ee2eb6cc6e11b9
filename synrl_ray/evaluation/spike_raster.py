"""A scrolling spike raster, drawn with array copies: time runs to the right, neurons upwards.

Legend: K simulation steps of one observation, N neurons of a layer, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKGROUND = np.array([250, 250, 250], dtype=np.uint8)
TEXT_COLOR = (60, 60, 60)
LAYER_COLORS = np.array([[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]], dtype=np.uint8)
HEADER_PIXELS = 18  # the line of text above each layer
MARGIN_PIXELS = 4
MIN_BAND_PIXELS = 30  # header and margin included


class SpikeRaster:
    """Keeps the last W columns of spikes of every layer as a picture.

    Every simulation step is a column of ``column_pixels``. Each layer has a band of equal height, the first layer
    at the bottom, and within it neuron 0 at the bottom. Where a band has fewer pixels than neurons, evenly spaced
    neurons are shown, so that the picture is as dense as the spikes are.

    Args:
        layer_sizes: N of each layer, the input's side first.
        height: H of the picture, pixels.
        width: W of the picture, pixels.
        column_pixels: width of one simulation step.
    Raises:
        ValueError: if there are no layers, or too many for the height.
    """

    def __init__(self, layer_sizes: Sequence[int], height: int, width: int, column_pixels: int = 2) -> None:
        if not layer_sizes or min(layer_sizes) < 1:
            raise ValueError(f"a raster needs layers with neurons, got sizes {list(layer_sizes)}")
        band = height // len(layer_sizes)
        if band < MIN_BAND_PIXELS:
            raise ValueError(f"{len(layer_sizes)} layers do not fit into {height} pixels")
        self._layer_sizes = tuple(layer_sizes)
        self._column_pixels = column_pixels
        self._picture = np.empty((height, width, 3), dtype=np.uint8)
        self._picture[:] = BACKGROUND
        self._plots: list[NDArray[np.uint8]] = []
        for layer, size in enumerate(layer_sizes):
            bottom = height - layer * band
            top = bottom - band + HEADER_PIXELS
            plot = self._picture[top : bottom - MARGIN_PIXELS, MARGIN_PIXELS : width - MARGIN_PIXELS]
            shown = f"{len(plot)} of {size}" if size > len(plot) else f"{size}"
            header = self._picture[top - HEADER_PIXELS : top, MARGIN_PIXELS:]
            header[:] = _text(f"layer {layer + 1}: {shown} neurons", header.shape[0], header.shape[1])
            plot[:] = 255
            self._plots.append(plot)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The present picture ``[H, W, 3]``: a view that the next push changes."""
        return self._picture

    def push(self, spikes: Sequence[NDArray[Any]]) -> None:
        """Scroll left and append the spikes of one observation.

        Args:
            spikes: one array per layer, ``[K, N]`` (or ``[K, ...]`` with N values per step); above 0 is a spike.
        Raises:
            ValueError: if layers are missing or have another size than at the start.
        """
        layers = [np.asarray(layer) > 0 for layer in spikes]
        layers = [layer.reshape(len(layer), -1) for layer in layers]
        sizes = tuple(layer.shape[1] for layer in layers)
        if sizes != self._layer_sizes:
            raise ValueError(f"the raster was made for layers of {self._layer_sizes} neurons, got {sizes}")
        for index, (plot, spikes_KN) in enumerate(zip(self._plots, layers, strict=True)):
            height, width = plot.shape[:2]
            shown_HK = spikes_KN[:, _shown_neurons(spikes_KN.shape[1], height)].T
            columns = shown_HK.repeat(self._column_pixels, axis=1)[:, -width:]
            num_columns = columns.shape[1]
            plot[:, : width - num_columns] = plot[:, num_columns:].copy()
            color = LAYER_COLORS[index % len(LAYER_COLORS)]
            plot[:, width - num_columns :] = np.where(columns[..., None], color, np.uint8(255))


def _shown_neurons(num_neurons: int, height: int) -> NDArray[np.intp]:
    """Return the neuron of each of ``height`` pixel rows, neuron 0 in the last row."""
    return (np.arange(height) * num_neurons // height)[::-1]


def _text(text: str, height: int, width: int) -> NDArray[np.uint8]:
    """Draw one line of text on the background: ``[height, width, 3]``."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), tuple(int(c) for c in BACKGROUND))
    font = ImageFont.load_default(size=height * 2 // 3)
    ImageDraw.Draw(image).text((0, height // 2), text, fill=TEXT_COLOR, anchor="lm", font=font)
    return np.asarray(image)
