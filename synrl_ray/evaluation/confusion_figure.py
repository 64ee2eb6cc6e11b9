"""A picture of a classifier's confusions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150


def confusion_figure(confusion: NDArray[Any], classes: Sequence[int]) -> Figure:
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
    return figure
