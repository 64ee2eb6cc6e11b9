"""One picture of what local learning did: distributions of weights and spikes, and diagnostics over the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synrl_ray.evaluation.curves import PALETTE, compact_number
from synrl_ray.evaluation.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUM_BINS = 40
_COLUMNS = 3
_PANEL_INCHES, _DPI = (4.4, 3.1), 130
_PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("spikes per neuron and step", ("place_rate", "action_rate")),
    ("spike rate, Hz", ("spike_rate",)),
    ("spike latency, ms", ("spike_latency",)),
    ("share", ("stdp_share", "silent_share", "saturated_share", "undecided_share")),
    ("neurons that never fired", ("silent_neurons",)),
    ("norm of the eligibility trace", ("eligibility_norm", "trace_norm")),
    ("third factor", ("modulator_mean", "modulator_abs", "td_error")),
    ("teacher current", ("teacher_current",)),
    ("weights", ("weight_min", "weight_mean", "weight_max", "weight_std")),
)


def draw_plasticity(
    rows: Sequence[Mapping[str, Any]], distributions: Mapping[str, np.ndarray], path: Path, *, title: str
) -> None:
    """Draw histograms, and below them what changed over the run.

    Args:
        rows: of ``metrics.jsonl``; columns ``plasticity_...`` are drawn where they are known.
        distributions: values to count, by the name that stands under their histogram.
        path: its suffix names the format. It appears whole or not at all.
        title: above all.

    Raises:
        ValueError: if there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    known = [(label, [n for n in names if _column(rows, n)]) for label, names in _PANELS]
    lines = [(label, names) for label, names in known if names]
    num_panels = len(distributions) + len(lines)
    if not num_panels:
        raise ValueError("no diagnostics of plasticity to draw")
    num_rows = -(-num_panels // _COLUMNS)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * min(_COLUMNS, num_panels), height * num_rows), dpi=_DPI, layout="constrained")
    panels = [figure.add_subplot(num_rows, min(_COLUMNS, num_panels), index + 1) for index in range(num_panels)]
    for axes, (name, values) in zip(panels, distributions.items(), strict=False):
        axes.hist(np.asarray(values, float).ravel(), bins=_NUM_BINS, color=PALETTE[0])
        axes.set_xlabel(name)
        axes.set_ylabel("how many")
    for axes, (label, names) in zip(panels[len(distributions) :], lines, strict=True):
        _draw_lines(axes, rows, label, names)
    for axes in panels[len(distributions) :]:
        axes.xaxis.set_major_formatter(FuncFormatter(compact_number))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    save_figure(figure, path)


def _draw_lines(axes: Axes, rows: Sequence[Mapping[str, Any]], label: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        steps, values = zip(*_column(rows, name), strict=True)
        axes.plot(steps, values, color=PALETTE[index], label=name.replace("_", " "), linewidth=1.4)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(label)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    column = f"plasticity_{name}"
    return [(row["env_steps"], row[column]) for row in rows if row.get(column) is not None]
