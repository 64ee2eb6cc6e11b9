"""Pictures of a classifier: its confusions, and what its neurons do with an image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from synrl_ray.files import write_atomically
from synrl_ray.supervised.model import Classifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_MOST_NEURONS = 48  # of a layer; more are not told apart in a raster of this height
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444", "#8C564B", "#7F7F7F", "#17BECF")


def draw_confusion(confusion: NDArray[Any], classes: Sequence[int], path: Path) -> None:
    """Counts of true against predicted class; the shade is the share of the true class, in logarithm."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(np.maximum(share, 1e-4), cmap="Blues", norm=LogNorm(1e-4, 1))
    for row, column in np.ndindex(*confusion.shape):
        shade = "white" if share[row, column] > 0.05 else "black"
        if confusion[row, column]:
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(range(len(classes)), [str(c) for c in classes])
    axes.set_yticks(range(len(classes)), [str(c) for c in classes])
    axes.set_xlabel("predicted digit")
    axes.set_ylabel("true digit")
    right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(f"{right:,} of {total:,} test images are right ({right / total:.2%})")
    figure.colorbar(image, label="share of the true digit")
    _write(figure, path)


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
    _write(figure, path)


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


def _write(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."))
    write_atomically(path, buffer.getvalue())
