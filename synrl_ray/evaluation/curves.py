"""One picture per experiment: return against environment steps, with every seed and its uncertainty.

Legend: S seeds, G grid points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synrl_ray.evaluation.statistics import bootstrap_band, iqm

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart with any colour vision; yellow is left out, too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#444444"
THIN_ALPHA = 0.35  # of each seed's line under a bold one
LEARNING_CURVE = "learning_curve.png"
"""File of a run's, or of several seeds', curve."""
NUM_GRID_POINTS = 100
MAX_PLAIN_POINTS = 300  # a single seed with more points gets a bold line of bin means over its thin one
SIZE_INCHES, DPI = (8.0, 5.0), 150  # 1200 x 750 pixels


class EvaluationCurve(NamedTuple):
    """Greedy evaluations during training: where, their means, and the ends of their intervals."""

    env_steps: Sequence[float]
    means: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


@dataclass(frozen=True)
class Curve:
    """The training of one seed.

    Attributes:
        label: what was trained; curves of the same label are seeds of the same thing and share a colour.
        env_steps: environment steps at which returns were recorded.
        returns: mean return of the episodes that ended there, reward units; NaN where none did.
        evaluations: ``(env_steps, means, lows, highs)`` of the greedy evaluations, if there were any.
    """

    label: str
    env_steps: Sequence[float]
    returns: Sequence[float]
    evaluations: EvaluationCurve | tuple[Sequence[float], ...] | None = None


def learning_curve(
    curves: Sequence[Curve],
    *,
    title: str,
    target: float | None,
    xlabel: str = "environment steps",
    ylabel: str = "episode return",
    yunit: str = "reward units",
    line: str = "training",
    confidence: float = 0.95,
) -> Figure:
    """Draw learning curves into one axis, 1200 x 750 pixels.

    Each seed's training return is a thin line and its greedy evaluations are markers with intervals. Where a label
    has several seeds, a bold line is their interquartile mean on a common grid, inside a pointwise bootstrap
    interval *over seeds*. Pyplot's state is not touched.

    Args:
        curves: seeds of one or several labels.
        title: above the axis.
        target: return that counts as solved, drawn dashed; None for no line.
        xlabel: name of the horizontal axis.
        ylabel: name of the vertical axis.
        yunit: its unit, appended in brackets; "" for none.
        line: what each seed's line shows, for the legend.
        confidence: of the interval over seeds, in (0, 1).
    Raises:
        ValueError: if there is nothing finite to draw, or a curve's lengths disagree.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.label, []).append(finite_curve(curve))
    if not groups:
        raise ValueError("no curves to draw")

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for index, seeds in enumerate(groups.values()):
        _draw_group(axes, seeds, PALETTE[index % len(PALETTE)], confidence)
    if target is not None:
        axes.axhline(target, color=GREY, linestyle=(0, (5, 4)), linewidth=1.2, zorder=1)

    axes.set_xlabel(xlabel)
    axes.set_ylabel(f"{ylabel} ({yunit})" if yunit else ylabel)
    axes.set_xlim(left=0)
    axes.margins(y=0.06)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(compact_number))
        axis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=13, fontweight="bold", wrap=True)
    handles = _legend_handles(groups, target, line, confidence)
    num_columns = num_legend_columns([len(handle.get_label()) for handle in handles])
    figure.legend(handles=handles, loc="outside lower center", ncols=num_columns, frameon=False, fontsize=9)
    return figure


def interpolate_to_grid(curves: Sequence[Curve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring seeds onto a common grid, over the steps that all of them have seen.

    A grid point takes the mean of the returns recorded within half a spacing of it; where there are none, the
    linear interpolation between its neighbours.

    Args:
        curves: the seeds, each with at least one finite return.
    Returns:
        Grid ``[G]`` in environment steps and returns ``[S, G]``. G is 0 if the seeds have no steps in common.
    """
    start = max(float(curve.env_steps[0]) for curve in curves)
    stop = min(float(curve.env_steps[-1]) for curve in curves)
    num_points = min(NUM_GRID_POINTS, max(len(curve.env_steps) for curve in curves))
    grid_G = np.linspace(start, stop, num_points) if stop > start else np.asarray([start] if stop == start else [])
    half = (grid_G[1] - grid_G[0]) / 2 if len(grid_G) > 1 else 0.5
    returns_SG = np.empty((len(curves), len(grid_G)))
    for row, curve in enumerate(curves):
        steps, returns = np.asarray(curve.env_steps), np.asarray(curve.returns)
        first, last = np.searchsorted(steps, grid_G - half), np.searchsorted(steps, grid_G + half)
        sums, counts = np.concatenate([[0.0], np.cumsum(returns)]), last - first
        means = (sums[last] - sums[first]) / np.maximum(counts, 1)
        returns_SG[row] = np.where(counts > 0, means, np.interp(grid_G, steps, returns))
    return grid_G, returns_SG


def finite_curve(curve: Curve) -> Curve:
    """Sort by environment steps and leave out what is not finite; runs that were resumed may be out of order."""
    steps, returns = np.asarray(curve.env_steps, dtype=float), np.asarray(curve.returns, dtype=float)
    if steps.ndim != 1 or steps.shape != returns.shape:
        raise ValueError(f"curve {curve.label!r}: {steps.shape} environment steps for {returns.shape} returns")
    keep = np.isfinite(steps) & np.isfinite(returns)
    order = np.argsort(steps[keep], kind="stable")
    evaluations = None
    if curve.evaluations is not None:
        columns = [np.asarray(column, dtype=float) for column in curve.evaluations]
        if len(columns) != 4 or len({column.shape for column in columns}) != 1:
            raise ValueError(f"curve {curve.label!r}: evaluations must be four equally long sequences")
        good = np.isfinite(columns).all(axis=0)
        evaluations = EvaluationCurve(*(column[good].tolist() for column in columns)) if good.any() else None
    if not keep.any() and evaluations is None:
        raise ValueError(f"curve {curve.label!r} has no finite return to draw")
    return Curve(curve.label, steps[keep][order].tolist(), returns[keep][order].tolist(), evaluations)


def _draw_group(axes: Axes, seeds: Sequence[Curve], color: str, confidence: float) -> None:
    """Draw the seeds of one label."""
    for seed in seeds:
        single_point = "." if len(seed.env_steps) == 1 else ""
        alpha = THIN_ALPHA if _has_bold_line(seeds) else 1.0
        axes.plot(seed.env_steps, seed.returns, color=color, linewidth=1.0, alpha=alpha, marker=single_point, zorder=2)
        if seed.evaluations is not None:
            steps, means, lows, highs = seed.evaluations
            axes.vlines(steps, lows, highs, color=color, linewidth=1.1, zorder=4)
            for ends in (lows, highs):
                axes.plot(steps, ends, color=color, linestyle="", marker="_", markersize=5, zorder=4)
            axes.plot(steps, means, linestyle="", zorder=5, **_marker(color))
    if not _has_bold_line(seeds):
        return
    grid_G, returns_SG = interpolate_to_grid([seed for seed in seeds if seed.env_steps])
    if len(grid_G):
        axes.plot(grid_G, iqm(returns_SG, axis=0), color=color, linewidth=2.4, zorder=3)
        if len(returns_SG) > 1:
            low_G, high_G = bootstrap_band(returns_SG, confidence=confidence)
            axes.fill_between(grid_G, low_G, high_G, color=color, alpha=0.18, linewidth=0, zorder=1.5)


def _has_bold_line(seeds: Sequence[Curve]) -> bool:
    trained = [seed for seed in seeds if seed.env_steps]
    return len(trained) > 1 or any(len(seed.env_steps) > MAX_PLAIN_POINTS for seed in trained)


def _marker(color: str) -> dict[str, Any]:
    return {"marker": "o", "markersize": 5, "color": color, "markeredgecolor": "white", "markeredgewidth": 0.8}


def _legend_handles(groups: dict[str, list[Curve]], target: float | None, line: str, confidence: float) -> list[Any]:
    """Explain the colours (one per label), then the kinds of line, in that order."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    labels = [textwrap.shorten(label, 60, placeholder="…") or "…" for label in groups]
    color, prefix = (PALETTE[0], f"{labels[0]}: ") if len(groups) == 1 else (GREY, "")
    handles: list[Any] = []
    if len(groups) > 1:
        handles += [Patch(color=PALETTE[i % len(PALETTE)], label=label) for i, label in enumerate(labels)]
    has_bold_line = any(_has_bold_line(seeds) for seeds in groups.values())
    num_seeds = max(sum(bool(seed.env_steps) for seed in seeds) for seeds in groups.values())
    if num_seeds:
        name = line if num_seeds == 1 else f"{line}, each seed"
        alpha = 2 * THIN_ALPHA if has_bold_line else 1.0  # alone in the legend, a faint line would be lost
        handles.append(Line2D([], [], color=color, linewidth=1.0, alpha=alpha, label=prefix + name))
    if has_bold_line:
        name = f"IQM of {'up to ' if len(groups) > 1 else ''}{num_seeds} seeds" if num_seeds > 1 else "mean of bins"
        handles.append(Line2D([], [], color=color, linewidth=2.4, label=name))
    if num_seeds > 1:
        name = f"{100 * confidence:g}% bootstrap interval over seeds"
        handles.append(Patch(facecolor=color, alpha=0.18, label=name))
    if any(seed.evaluations is not None for seeds in groups.values() for seed in seeds):
        name = "greedy evaluation with interval"
        handles.append(Line2D([], [], linestyle="", **_marker(color), label=name if num_seeds else prefix + name))
    if target is not None:
        dashes: Any = (0, (5, 4))
        handles.append(Line2D([], [], color=GREY, linestyle=dashes, linewidth=1.2, label=f"target {target:g}"))
    return handles


def num_legend_columns(label_lengths: Sequence[int]) -> int:
    """Return the most columns, filled one after the other, that fit into the width of the picture."""
    for num_columns in (3, 2):
        columns = np.array_split(label_lengths, num_columns)
        if sum(column.max(initial=0) + 8 for column in columns) <= 105:  # letters; 8 for the handle
            return num_columns
    return 1


def compact_number(value: float, _position: int | None = None) -> str:
    """Write a tick as ``950``, ``20k`` or ``1.5M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.6g}"
