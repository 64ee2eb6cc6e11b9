"""What a classifier's neurons do with an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synrl_ray.evaluation.saving import save_figure
from synrl_ray.supervised.model import Classifier

_DPI = 150
_MOST_NEURONS = 48  # of a layer; more are not told apart in a raster of this height
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444", "#8C564B", "#7F7F7F", "#17BECF")


def draw_activity(model: Classifier, images: NDArray[np.uint8], path: Path) -> None:
    """For each image: the image, a spike raster of every layer, and the readout's membranes over time."""
    from matplotlib.figure import Figure

    with torch.no_grad():
        spikes, trace = model.activity(torch.from_numpy(images))
    num_images, num_layers, num_steps = len(images), len(spikes), trace.shape[0]
    figure = Figure(figsize=(3.2 + 2.6 * (num_layers + 1), 2.2 * num_images), dpi=_DPI, layout="constrained")
    grid = figure.subplots(num_images, num_layers + 2, squeeze=False, width_ratios=[0.7, *[1] * (num_layers + 1)])
    for row, image in enumerate(images):
        picture, *rasters, membranes = grid[row]
        picture.imshow(image, cmap="gray_r")
        picture.set_axis_off()
        for layer, axes in enumerate(rasters):
            _draw_raster(axes, spikes[layer][:, row].numpy(), f"layer {layer + 1}", num_steps)
        for output, digit in enumerate(model.classes):
            membranes.plot(
                range(1, num_steps + 1), trace[:, row, output], color=_COLORS[output], label=str(digit), linewidth=1.4
            )
        membranes.set_title("readout membrane", fontsize=9)
        membranes.set_xlim(0.5, num_steps + 0.5)
        if row == num_images - 1:
            for axes in (*rasters, membranes):
                axes.set_xlabel("simulation step", fontsize=9)
    figure.legend(*grid[0][-1].get_legend_handles_labels(), loc="outside right center", title="digit", fontsize=8)
    save_figure(figure, path)


def _draw_raster(axes: Any, spikes_KN: NDArray[Any], name: str, num_steps: int) -> None:
    """One line of ticks for each neuron that spikes at all, or for an even choice of them."""
    active = np.flatnonzero(spikes_KN.any(axis=0))
    shown = (
        active[np.linspace(0, len(active) - 1, min(len(active), _MOST_NEURONS)).astype(int)] if len(active) else active
    )
    step, neuron = np.nonzero(spikes_KN[:, shown])
    axes.scatter(step + 1, neuron, marker="|", s=9, linewidths=0.9, color="#0072B2")
    axes.set_xlim(0.5, num_steps + 0.5)
    axes.set_ylim(-1, len(shown))
    axes.set_title(f"{name}: {spikes_KN.mean():.1%} of {spikes_KN.shape[1]} neurons a step", fontsize=8)
    axes.set_ylabel(f"{len(shown)} of {len(active)} that spike", fontsize=8)
    axes.set_yticks([])
