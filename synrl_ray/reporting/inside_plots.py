"""A policy from within: spikes, weights; and which classes a classifier takes for which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from synrl_ray.reporting.entries import Entry
from synrl_ray.reporting.plots import Plot, axes, color_of, dash_of, literal
from synrl_ray.reporting.words import number, plain
from synrl_ray.running.kind import Inside

_MOST_NEURONS = 60
"""Of a layer in a raster."""
_MOST_LAYERS, _MOST_HISTOGRAMS = 6, 12
_BINS = 50
_MOST_CELLS = 10_000


def raster(entry: Entry, inside: Inside) -> Iterator[Plot]:
    """Every spike of the first decisions of an episode."""
    if not inside.spikes:
        return
    traces, bottom, told = [], 0, []
    for layer, spikes_TN in enumerate(inside.spikes[:_MOST_LAYERS]):
        active = np.flatnonzero(spikes_TN.any(axis=0))
        shown = active[np.linspace(0, len(active) - 1, min(len(active), _MOST_NEURONS)).astype(int)]
        step, neuron = np.nonzero(spikes_TN[:, shown])
        told.append(f"layer {layer + 1}: {spikes_TN.mean():.1%} of {spikes_TN.shape[1]:,} neurons a step")
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"layer {layer + 1}",
                "x": (step + 1).tolist(),
                "y": (neuron + bottom).tolist(),
                "customdata": shown[neuron].tolist(),
                "hovertemplate": "step %{x}, neuron %{customdata}",
                "marker": {"symbol": "line-ns", "size": 5, "line": {"width": 1.3, "color": color_of(layer)}},
            }
        )
        bottom += len(shown) + 3
    caption = (
        f"The first decisions of a greedy episode; simulation steps in each: {inside.steps_per_decision}; "
        f"{'; '.join(told)}. Of each layer up to {_MOST_NEURONS} of the neurons that spike, evenly chosen."
    )
    layout = axes("simulation step", "neurons", yaxis={"showticklabels": False}, hovermode="closest")
    yield Plot(f"Spikes: {entry.label}", caption, traces, layout)


def weights(entry: Entry, inside: Inside) -> Iterator[Plot]:
    """How the weights of each layer are distributed."""
    traces: list[dict[str, Any]] = []
    for index, (name, values) in enumerate(list(inside.weights.items())[:_MOST_HISTOGRAMS]):
        finite = values[np.isfinite(values)].astype(np.float64)
        if not finite.size:
            continue
        lowest, highest = finite.min(), finite.max()
        if highest - lowest <= _BINS * np.spacing(max(abs(lowest), abs(highest))):  # no room for so many bins
            lowest, highest = lowest - 0.5 - abs(lowest) / 2, highest + 0.5 + abs(highest) / 2
        counts, edges = np.histogram(finite, bins=_BINS, range=(lowest, highest))
        middles = (edges[:-1] + edges[1:]) / 2
        line = {"color": color_of(index), "dash": dash_of(index), "shape": "hvh", "width": 1.8}
        label = literal(f"{plain(name, 40)} ({number(int(finite.size))})")
        shares = {"x": middles.tolist(), "y": (counts / finite.size).tolist()}
        hover = "%{x:.3g}: %{y:.1%}"
        traces.append(
            {"type": "scatter", "mode": "lines", "name": label, "line": line, "hovertemplate": hover, **shares}
        )
    if traces:
        caption = "Shares of each layer's or table's values, in brackets how many there are."
        layout = axes("value", "share", yaxis={"tickformat": ".0%"}, hovermode="closest")
        yield Plot(f"Weights: {entry.label}", caption, traces, layout)


def confusion(entry: Entry) -> Iterator[Plot]:
    """Test images by class and prediction, of all seeds together."""
    found = [np.array(run.result.confusion) for run in entry.runs if run.result and run.result.confusion]
    if not found or len({each.shape for each in found}) > 1 or found[0].ndim != 2 or found[0].size > _MOST_CELLS:
        return
    total = np.sum(found, axis=0)
    shares = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    classes = [literal(plain(each)) for each in _classes(entry, len(total))]
    trace = {
        "type": "heatmap",
        "z": shares.tolist(),
        "x": classes,
        "y": classes,
        "customdata": total.tolist(),
        "text": [[f"{count:,}" if count else "" for count in row] for row in total.tolist()],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} taken for %{x}: %{customdata:,} (%{z:.2%})<extra></extra>",
        "colorscale": "Cividis",
        "zmin": 0,
        "zmax": 1,
        "colorbar": {"tickformat": ".0%", "title": {"text": "of the class"}},
    }
    ticks = {"type": "category"}
    layout = axes("predicted", "true", xaxis=ticks, yaxis={**ticks, "autorange": "reversed"}, hovermode="closest")
    yield Plot(f"Confusion: {entry.label}", "Test images of all seeds, by true and predicted class.", [trace], layout)


def _classes(entry: Entry, count: int) -> Sequence[Any]:
    named = entry.result.protocol.get("classes") if entry.result is not None else None
    return named if isinstance(named, list | tuple) and len(named) == count else range(count)
