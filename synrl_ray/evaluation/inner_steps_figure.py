"""One picture of how a meta-learned start adapts to test tasks: a score against inner steps, of each seed.

Legend: S inner steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synrl_ray.evaluation.curves import GREY, PALETTE, num_legend_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INNER_STEPS = "inner_steps.png"
"""File of a run's, or of several seeds', picture."""


@dataclass(frozen=True)
class AdaptedSeed:
    """One seed.

    Attributes:
        label: what was trained.
        means: over tasks, after 0 … S inner steps.
        errors: 1.96 standard errors over distinct tasks of each.
    """

    label: str
    means: Sequence[float]
    errors: Sequence[float]


def inner_steps_figure(seeds: Sequence[AdaptedSeed], untrained: Sequence[float], *, title: str, ylabel: str) -> Figure:
    """Draw a line with error bars for each seed, and a dashed one for the learner as it was made.

    Args:
        seeds: at least one.
        untrained: means over tasks after 0 … S inner steps; empty for none.
        title: above the axis.
        ylabel: name of the score.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for seed, colour in zip(seeds, [PALETTE[i % len(PALETTE)] for i in range(len(seeds))], strict=True):
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4, "capsize": 3, "linewidth": 1.6}
        axes.errorbar(range(len(seed.means)), seed.means, yerr=seed.errors, label=seed.label, **style)
    low, high = axes.get_ylim()
    if untrained:
        bottom, top = max(min(low, *untrained), 2 * low - high), min(max(high, *untrained), 2 * high - low)
        label = "from scratch" + (", out of sight" if max(untrained) < bottom or min(untrained) > top else "")
        axes.plot(range(len(untrained)), untrained, color=GREY, linestyle=(0, (5, 4)), label=label)
        axes.set_ylim(bottom, top)
    axes.set_xlabel("inner steps on a test task")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    num_columns = num_legend_columns([len(label) for label in labels])
    figure.legend(handles, labels, loc="outside lower center", ncols=num_columns, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11, fontweight="bold", wrap=True)
    return figure
