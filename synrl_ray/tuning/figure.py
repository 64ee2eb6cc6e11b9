"""One picture of a study: every trial's score against steps, and the last score against each searched setting."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synrl_ray.evaluation.curves import DPI, PALETTE, compact_number
from synrl_ray.experiment import Choice, LogUniform
from synrl_ray.tuning.score import WORST
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_WIDTH, _CURVES_HEIGHT, _PANEL_HEIGHT = 9.0, 3.8, 2.6  # inches
_STATES = {"finished": ("o", PALETTE[0]), "stopped": ("v", PALETTE[5]), "running": ("o", PALETTE[4])}
_BEST = PALETTE[1]


def study_figure(study: Study, trials: Sequence[Trial], best: Trial) -> Figure:
    """Draw the trials that have been evaluated, the best one in front.

    Args:
        study: what was searched.
        trials: all of them; failed ones are left out.
        best: one of them.
    """
    from matplotlib.figure import Figure

    shown = [trial for trial in trials if trial.state in _STATES and _finite(trial)]
    space = study.space
    rows = -(-len(space) // _COLUMNS)
    figure = Figure(figsize=(_WIDTH, _CURVES_HEIGHT + rows * _PANEL_HEIGHT), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=[_CURVES_HEIGHT] + [_PANEL_HEIGHT] * rows)
    top = figure.add_subplot(grid[0, :])
    _draw_curves(top, shown, best, study.kind.unit.words)
    for number, path_of_setting in enumerate(space):
        axes = figure.add_subplot(grid[1 + number // _COLUMNS, number % _COLUMNS])
        _draw_setting(axes, study, shown, best, path_of_setting)
        if number % _COLUMNS == 0:
            axes.set_ylabel(best.score_name)
    run = study.run
    title = f"{run.experiment.id} ({run.policy}): {len(trials)} trials, best {best.score:.6g} (trial {best.index})"
    figure.suptitle(title, fontsize=13, fontweight="bold", wrap=True)
    figure.legend(handles=_legend(shown), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _draw_curves(axes: Axes, trials: Sequence[Trial], best: Trial, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter

    for trial in trials:
        steps, scores = zip(*_finite(trial), strict=True)
        marker, color = _STATES[trial.state]
        if trial is best:
            axes.plot(steps, scores, color=_BEST, linewidth=2.4, marker="o", markersize=5, zorder=4)
        else:
            axes.plot(steps, scores, color=color, linewidth=1.0, alpha=0.6, zorder=2)
            axes.plot(steps[-1:], scores[-1:], color=color, marker=marker, markersize=5, linestyle="", zorder=3)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_ylabel(best.score_name)
    _tidy(axes)
    axes.xaxis.set_major_formatter(FuncFormatter(compact_number))


def _draw_setting(axes: Axes, study: Study, trials: Sequence[Trial], best: Trial, path: str) -> None:
    bounds = study.space[path]
    options = [str(_plain(option)) for option in bounds.options] if isinstance(bounds, Choice) else []
    for trial in trials:
        value = trial.settings[path]
        x = options.index(str(_plain(value))) if options else value
        marker, color = _STATES[trial.state]
        style: dict[str, Any] = {"marker": marker, "color": color, "markersize": 5, "alpha": 0.8, "zorder": 2}
        if trial is best:
            style = {"marker": "o", "color": _BEST, "markersize": 8, "zorder": 3}
        axes.plot([x], [_finite(trial)[-1][1]], linestyle="", **style)
    if options:
        axes.set_xticks(range(len(options)), [textwrap.shorten(option, 14, placeholder="…") for option in options])
        axes.set_xlim(-0.5, len(options) - 0.5)
    elif isinstance(bounds, LogUniform):
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.set_xscale("log")
        axes.set_xlim(bounds.low / 1.15, bounds.high * 1.15)
        # A narrow panel: marks at 1 and 3 of each decade, and none between that would carry numbers of their own.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(path)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.margins(y=0.08)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _finite(trial: Trial) -> list[tuple[int, float]]:
    """The evaluations that have a number."""
    return [(steps, score) for steps, score in trial.curve if score > WORST]


def _plain(value: Any) -> Any:
    return "×".join(map(str, value)) if isinstance(value, list | tuple) else value


def _legend(trials: Sequence[Trial]) -> list[Any]:
    from matplotlib.lines import Line2D

    names = {"finished": "finished", "stopped": "stopped early", "running": "not ended"}
    handles = [
        Line2D([], [], color=color, marker=marker, label=names[state])
        for state, (marker, color) in _STATES.items()
        if any(trial.state == state for trial in trials)
    ]
    return [Line2D([], [], color=_BEST, linewidth=2.4, marker="o", label="best"), *handles]
