"""One picture of adaptation: where policies go on gridworlds, before and after inner steps.

Legend: R rows, C columns of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synrl_ray.evaluation.curves import PALETTE
from synrl_ray.evaluation.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_INCHES, _DPI = 2.3, 130


@dataclass(frozen=True, eq=False)
class AdaptedTask:
    """One gridworld.

    Args:
        free: ``[R, C]`` of bool, false in obstacles.
        goal, start: row and column; ``start`` is ``None`` where episodes begin anywhere.
        visits: ``[R, C]`` for each policy, how often an episode is expected to be in each cell.
        regrets: of each policy, as a share of the optimal return.
    """

    free: np.ndarray
    goal: tuple[int, int]
    start: tuple[int, int] | None
    visits: Sequence[np.ndarray]
    regrets: Sequence[float]


def draw_adaptation(tasks: Sequence[AdaptedTask], inner_steps: Sequence[int], path: Path, *, title: str) -> None:
    """Draw one row of heat maps for each task, one column for each number of inner steps.

    Args:
        tasks: at least one.
        inner_steps: after which the tasks' policies are shown.
        path: its suffix names the format. It appears whole or not at all.
        title: above all.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    size = (_PANEL_INCHES * len(inner_steps) + 1.2, (_PANEL_INCHES + 0.35) * len(tasks) + 1.0)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    panels = figure.subplots(len(tasks), len(inner_steps), squeeze=False)
    image: Any = None
    for row, task in enumerate(tasks):
        for column, steps in enumerate(inner_steps):
            axes = panels[row][column]
            image = _draw_visits(axes, task, task.visits[column])
            axes.set_xlabel(f"regret {task.regrets[column]:.0%}", fontsize=9)
            if row == 0:
                done = f"{steps} inner step" + ("" if steps == 1 else "s")
                axes.set_title(done if steps else "before adaptation", fontsize=10)
    bar = figure.colorbar(image, ax=panels, shrink=0.6)
    bar.set_label("expected visits in an episode (1 and more: darkest)")
    marks = {"*": "goal", "o": "start"} if any(task.start for task in tasks) else {"*": "goal"}
    handles = [
        Line2D([], [], linestyle="", marker=kind, markeredgecolor="black", label=label, **_MARKS[kind])
        for kind, label in marks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    save_figure(figure, path)


_MARKS: dict[str, dict[str, Any]] = {
    "*": {"markersize": 13, "markerfacecolor": PALETTE[1]},
    "o": {"markersize": 7, "markerfacecolor": "white"},
}


def _draw_visits(axes: Axes, task: AdaptedTask, visits: np.ndarray) -> Any:
    axes.set_facecolor("#444444")  # shows through where there are obstacles
    image = axes.imshow(np.ma.masked_where(~task.free, visits), cmap="Blues", vmin=0, vmax=1)
    for kind, cell in (("o", task.start), ("*", task.goal)):
        if cell is not None:
            axes.plot(cell[1], cell[0], linestyle="", marker=kind, markeredgecolor="black", **_MARKS[kind])
    axes.set_xticks([])
    axes.set_yticks([])
    return image
