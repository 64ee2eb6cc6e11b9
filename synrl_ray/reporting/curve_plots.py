"""Learning curves, and how meta-learned starts adapt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from synrl_ray.evaluation.curves import Curve, finite_curve, interpolate_to_grid
from synrl_ray.evaluation.statistics import bootstrap_band, iqm
from synrl_ray.reporting.entries import Entry, Run
from synrl_ray.reporting.plots import FAINT, Plot, axes, color_of, dash_of, faded, literal, symbol_of
from synrl_ray.reporting.words import in_words
from synrl_ray.running.metrics_table import thinned

_MOST_POINTS = 400
"""Of a seed's line; a screen shows no more."""
_MOST_SCORES, _MOST_STEPS = 4, 100
"""Of adaptation."""
_MEANS = "Means over test tasks, with 1.96 standard errors over tasks where one seed is judged."
_HIDDEN = " What untrained ones reach is far away: a click on a name in the legend shows it."
_FAR = 5
"""Times the range of what was learned."""
_SEVERAL = (
    " Of several seeds: their interquartile mean, its 95 % pointwise bootstrap interval over seeds, and each seed as a "
    "thin line."
)
_OF_EVALUATIONS = "evaluation_"


def learning_curves(entries: Sequence[Entry]) -> Iterator[Plot]:
    """One for each figure that was followed during training and that any of the runs has, those that count first."""
    kind = entries[0].kind
    words = {each.column: each.label for each in kind.shown}
    words |= {each.column: each.words for each in kind.scores if each.sign > 0}
    followed = {name for entry in entries for run in entry.runs for row in run.rows[:1] for name in row}
    shown = [each.column for each in kind.shown if each.unless not in followed]
    for column in dict.fromkeys([*(each.column for each in kind.scores), *shown]):
        traces = [trace for index, entry in enumerate(entries) for trace in _traces(entry, index, column)]
        if traces:
            name = words[column]
            judged = "Evaluations during training." if column.startswith(_OF_EVALUATIONS) else "Of training itself."
            caption = judged + (_SEVERAL if any(len(entry.runs) > 1 for entry in entries) else "")
            yield Plot(f"Learning curve: {name}", caption, traces, axes(kind.unit.words, name))


def adaptation(entries: Sequence[Entry]) -> Iterator[Plot]:
    """Scores after each inner step, one figure for each kind of score."""
    found = [(i, e.label, e.result.adaptation) for i, e in enumerate(entries) if e.result and e.result.adaptation]
    names = dict.fromkeys(name for _, _, each in found for name in each.by_step)
    for name in list(names)[:_MOST_SCORES]:
        traces: list[dict[str, Any]] = []
        learned = [value for _, _, each in found for value in each.by_step.get(name, ())]
        caption = _MEANS
        for index, label, each in found:
            if name in each.by_step:
                errors = each.errors.get(name)
                bars = {"error_y": {"type": "data", "array": list(errors[:_MOST_STEPS])}} if errors else {}
                traces.append(_steps(label, each.by_step[name], index, dash_of(index)) | bars)
            if name in each.untrained:
                trace = _steps(f"{label}, untrained", each.untrained[name], index, "dot") | {"opacity": 0.6}
                if _is_far(each.untrained[name], learned):
                    trace["visible"] = "legendonly"
                    caption = _MEANS + _HIDDEN
                traces.append(trace)
        words = in_words(name)
        yield Plot(f"Adaptation: {words}", caption, traces, axes("inner steps", words, xaxis={"dtick": 1}))


def _is_far(values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether a scale that shows these would show nothing of how the others change."""
    shown, kept = ([value for value in each if math.isfinite(value)] for each in (values, others))
    if not shown or not kept:
        return False
    least, most = min(kept), max(kept)
    return most > least and max(least - min(shown), max(shown) - most) > _FAR * (most - least)


def _steps(label: str, values: Sequence[float], index: int, dash: str) -> dict[str, Any]:
    line = {"color": color_of(index), "dash": dash}
    marker = {"symbol": symbol_of(index), "size": 7}
    y = list(values[:_MOST_STEPS])
    x = list(range(len(y)))
    return {"type": "scatter", "name": literal(label), "x": x, "y": y, "line": line, "marker": marker}


def _traces(entry: Entry, index: int, column: str) -> Iterator[dict[str, Any]]:
    curves = [curve for run in entry.runs if (curve := _curve(entry, run, column)) is not None]
    color, name = color_of(index), literal(entry.label)
    line = {"color": color, "dash": dash_of(index), "width": 2.5}
    if len(curves) == 1:
        x, y = curves[0].env_steps, curves[0].returns
        hover = "%{y:.4g}"
        markers = {"mode": "lines+markers", "marker": {"symbol": symbol_of(index), "size": 6}} if len(x) < 40 else {}
        bars = _intervals(entry, column, x) if column.startswith(_OF_EVALUATIONS) else {}
        scatter = {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line}
        yield {**scatter, "hovertemplate": hover, **markers, **bars}
    elif curves:
        thin = {"color": color, "width": 1}
        hidden = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
        for curve in curves:
            yield {**hidden, "x": curve.env_steps, "y": curve.returns, "line": thin, "opacity": FAINT}
        grid, values = interpolate_to_grid(curves)
        if len(grid):
            low, high = bootstrap_band(values)
            band = {"x": [*grid, *grid[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "fillcolor": faded(color)}
            yield {**hidden, **band, "line": {"width": 0}}
            hover = "%{y:.4g} (%{customdata[0]:.4g} to %{customdata[1]:.4g})"
            middle = {"x": grid.tolist(), "y": iqm(values, axis=0).tolist(), "line": line, "hovertemplate": hover}
            ends = list(zip(low.tolist(), high.tolist(), strict=True))
            seen = {"mode": "lines"} if len(grid) > 1 else {"mode": "markers", "marker": {"symbol": symbol_of(index)}}
            yield {"type": "scatter", **seen, "name": name, "legendgroup": name, "customdata": ends, **middle}


def _curve(entry: Entry, run: Run, column: str) -> Curve | None:
    rows = _rows(entry, run, column)
    if not rows:
        return None
    steps = [row[entry.kind.unit.column] for row in rows]
    curve = Curve(entry.label, steps, [row[column] for row in rows])
    try:
        return finite_curve(curve)
    except (ArithmeticError, ValueError):  # nothing finite, or what no float holds
        return None


def _rows(entry: Entry, run: Run, column: str) -> Sequence[Any]:
    known = [r for r in run.rows if r.get(column) is not None and r.get(entry.kind.unit.column) is not None]
    return thinned(known, _MOST_POINTS)


def _intervals(entry: Entry, column: str, steps: Sequence[float]) -> dict[str, Any]:
    """The intervals of one seed's evaluations after so many steps, where the rows have them."""
    if len(entry.runs) > 1:
        return {}
    stem = column.removesuffix("_mean")
    names = (f"{stem}_low", column, f"{stem}_high")
    known = [row for row in _rows(entry, entry.runs[0], column) if all(_is_finite(row.get(name)) for name in names)]
    found = {row[entry.kind.unit.column]: [row[name] for name in names] for row in known}
    if not found:
        return {}
    ends = [found.get(step) for step in steps]  # a point has its own, or none
    above = [None if each is None else each[2] - each[1] for each in ends]
    below = [None if each is None else each[1] - each[0] for each in ends]
    return {"error_y": {"type": "data", "array": above, "arrayminus": below, "symmetric": False, "thickness": 1}}


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
