"""Figures as files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from synrl_ray.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; its file, whose suffix names the format, appears whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".").lower() or "png")
    write_atomically(path, buffer.getvalue())


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write figures under their names."""
    for name, figure in figures.items():
        save_figure(figure, folder / name)
