"""One picture of learners on the same new tasks: their returns against environment steps, and one task's maps.

Legend: M tasks, G environment steps at which learners are judged, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synrl_ray.evaluation.curves import GREY, PALETTE, compact_number
from synrl_ray.evaluation.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES, _DPI = (12.0, 5.6), 130


@dataclass(frozen=True, eq=False)
class LearnerCurve:
    """One learner.

    Args:
        name: for the legend.
        mean, error: ``[G]``, of the share of the optimal return over tasks, and half its 95 % interval.
        values: ``[R, C]``, expected discounted return of its policy from each cell of the drawn task, as a share of
            the best cell's; NaN in obstacles.
        path: row and column of each cell on its way from the start, the first one included.
    """

    name: str
    mean: np.ndarray
    error: np.ndarray
    values: np.ndarray
    path: Sequence[tuple[int, int]]


def draw_comparison(
    learners: Sequence[LearnerCurve],
    env_steps: np.ndarray,
    goal: tuple[int, int],
    drawn_at: int,
    path: Path,
    *,
    title: str,
) -> None:
    """Draw the curves beside one map for each learner.

    Args:
        learners: an even number of them.
        env_steps: ``[G]``.
        goal: of the drawn task.
        drawn_at: environment steps after which the maps are.
        path: its suffix names the format. It appears whole or not at all.
        title: above all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    left, right = parts
    _draw_curves(left.add_subplot(), learners, env_steps, drawn_at)
    panels = right.subplots(len(learners) // 2, 2, squeeze=False).ravel()
    image: Any = None
    for index, (axes, learner) in enumerate(zip(panels, learners, strict=True)):
        image = _draw_map(axes, learner, goal, PALETTE[index])
    right.suptitle(
        f"One of the tasks after {drawn_at:,} environment steps: values of the policy, and its way", fontsize=9
    )
    right.colorbar(image, ax=panels.tolist(), shrink=0.7).set_label("discounted return, share of the best")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    save_figure(figure, path)


def _draw_curves(axes: Axes, learners: Sequence[LearnerCurve], env_steps: np.ndarray, drawn_at: int) -> None:
    for index, learner in enumerate(learners):
        low, high = learner.mean - learner.error, learner.mean + learner.error
        axes.fill_between(env_steps, low, high, step="post", color=PALETTE[index], alpha=0.2, linewidth=0)
        axes.step(env_steps, learner.mean, where="post", color=PALETTE[index], linewidth=2, label=learner.name)
    axes.axhline(1, color=GREY, linestyle=(0, (5, 4)), linewidth=1.2, label="optimum")
    axes.axvline(drawn_at, color=GREY, linestyle=":", linewidth=1)
    axes.set_xlim(0, env_steps[-1])
    axes.xaxis.set_major_formatter(lambda value, _: compact_number(value, None))
    axes.set_xlabel("environment steps on the new task")
    axes.set_ylabel("return of the greedy policy, as a share of the optimum")
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", fontsize=9)


def _draw_map(axes: Axes, learner: LearnerCurve, goal: tuple[int, int], color: str) -> Any:
    axes.set_facecolor(GREY)  # shows through where there are obstacles
    image = axes.imshow(np.ma.masked_invalid(learner.values), cmap="viridis", vmin=0, vmax=1)
    rows, columns = zip(*learner.path, strict=True)
    axes.plot(columns, rows, color="white", linewidth=2.5)
    axes.plot(columns[0], rows[0], "o", color="white", markeredgecolor="black", markersize=7)
    axes.plot(goal[1], goal[0], "*", color=PALETTE[5], markeredgecolor="black", markersize=13)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(learner.name, fontsize=9, color=color, fontweight="bold")
    return image
