"""Scores against energy, and over runs: performance profiles and probabilities of improvement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from synrl_ray.evaluation.over_runs import performance_profile, probability_of_improvement
from synrl_ray.reporting.entries import Entry
from synrl_ray.reporting.plots import Plot, axes, color_of, dash_of, faded, literal, symbol_of
from synrl_ray.reporting.tables import energy_of
from synrl_ray.reporting.words import in_words

_LEAST_SEEDS = 3
_MOST_PAIRS = 30
_SOURCE = 'Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice"'


def score_against_energy(entries: Sequence[Entry]) -> Iterator[Plot]:
    """Where energy was counted: what a decision costs, and what the policy is worth."""
    traces: list[dict[str, Any]] = []
    for index, entry in enumerate(entries):
        result = entry.result
        for count, words in (("", "usual count"), ("_strict", "strict count")):
            energy = energy_of(result, count)
            if result is None or energy is None or (value := result.figures[result.score]) is None:
                continue
            found = result.interval(result.score)
            ends = {} if found is None else {"array": [found.high - value], "arrayminus": [value - found.low]}
            symbol = symbol_of(index) + ("-open" if count else "")
            point = {"x": [energy], "y": [value], "marker": {"symbol": symbol, "size": 13, "color": color_of(index)}}
            bars = {"error_y": {"type": "data", "symmetric": False, **ends}} if ends else {}
            hover = "%{x:.4g} nJ a decision<br>%{y:.4g}"
            name = literal(f"{entry.label}, {words}")
            traces.append({"type": "scatter", "mode": "markers", "name": name, "hovertemplate": hover, **point, **bars})
    if traces:
        score = in_words(next(entry.result.score for entry in entries if entry.result))
        caption = (
            "Energy of a decision, estimated from its operations; filled: the usual count, open: the strict one, with "
            "memory. Score with its interval."
        )
        xaxis = {"type": "log", "tickmode": "array", "tickvals": _ticks([trace["x"][0] for trace in traces])}
        layout = axes("energy a decision (nJ, logarithmic)", score, xaxis=xaxis, hovermode="closest")
        yield Plot("Score against energy", caption, traces, layout)


def _ticks(values: Sequence[float]) -> list[float]:
    """One, two and five times the powers of ten about the values."""
    low, high = (int(np.floor(np.log10(end))) for end in (min(values), max(values)))
    return [step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)] + [10.0 ** (high + 1)]


def over_runs(entries: Sequence[Entry]) -> Iterator[Plot]:
    """Where every entry has seeds enough, all with a score."""
    several = [(index, entry, entry.scores()) for index, entry in enumerate(entries)]
    names = {run.result.score for entry in entries for run in entry.runs if run.result is not None}
    if len(names) != 1 or any(len(scores) < _LEAST_SEEDS for *_, scores in several):
        return
    (name,) = names
    words, sign = in_words(name), entries[0].sign
    yield _profile(several, words, sign)
    if len(several) > 1:
        yield _improvement(several, words, sign)


def _profile(several: Sequence[tuple[int, Entry, Sequence[float]]], words: str, sign: int) -> Plot:
    every = [score for *_, scores in several for score in scores]
    margin = 0.05 * (max(every) - min(every)) or 0.05 * abs(every[0]) or 1.0
    thresholds = sorted({min(every) - margin, *every, max(every) + margin})
    shape = "vh" if sign > 0 else "hv"  # a score reaches the threshold that it equals
    traces: list[dict[str, Any]] = []
    for index, entry, scores in several:
        found = performance_profile(scores, thresholds, sign)
        name, color = literal(entry.label), color_of(index)
        line = {"color": color, "dash": dash_of(index), "width": 2.5, "shape": shape}
        group = {"type": "scatter", "mode": "lines", "legendgroup": name, "x": thresholds}
        end = {"line": {"width": 0, "shape": shape}, "hoverinfo": "skip", "showlegend": False}
        traces.append({**group, **end, "y": found.lows.tolist()})
        traces.append({**group, **end, "y": found.highs.tolist(), "fill": "tonexty", "fillcolor": faded(color, 0.15)})
        shares = {"y": found.shares.tolist(), "hovertemplate": "%{y:.0%} of seeds"}
        traces.append({**group, **shares, "name": name, "line": line})
    caption = (
        f"The share of seeds whose score is at least as good, with 95 % pointwise bootstrap intervals over seeds: the "
        f"performance profile of {_SOURCE}, here of one task."
    )
    yaxis = {"range": [-0.03, 1.03], "tickformat": ".0%"}
    reached = f"{words} of at {'least' if sign > 0 else 'most'} …"
    return Plot("Performance profile", caption, traces, axes(reached, "share of seeds", yaxis=yaxis))


def _improvement(several: Sequence[tuple[int, Entry, Sequence[float]]], words: str, sign: int) -> Plot:
    pairs = list(combinations(several, 2))[:_MOST_PAIRS]
    found = [probability_of_improvement(first[2], second[2], sign) for first, second in pairs]
    names = [literal(f"{first[1].label} over {second[1].label}") for first, second in pairs]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [each.value for each in found],
        "y": list(range(len(pairs))),
        "text": names,
        "marker": {"size": 12, "color": color_of(0)},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [each.high - each.value for each in found],
            "arrayminus": [each.value - each.low for each in found],
        },
        "hovertemplate": "%{x:.0%}<extra></extra>",
        "showlegend": False,
    }
    labels = [
        {"x": 0, "xanchor": "left", "xref": "paper", "y": y, "yshift": 20, "text": name, "showarrow": False}
        for y, name in enumerate(names)
    ]
    caption = (
        f"How likely a seed of the first has a better {words} than one of the second, ties counted half, with 95 % "
        f"bootstrap intervals over seeds: {_SOURCE}, here of one task. 50 %: neither is better."
    )
    layout = axes(
        "probability of improvement",
        "",
        xaxis={"range": [-0.03, 1.03], "tickformat": ".0%"},
        yaxis={"visible": False, "range": [len(pairs) - 0.3, -0.7]},
        hovermode="closest",
        annotations=labels,
        shapes=[{"type": "line", "x0": 0.5, "x1": 0.5, "yref": "paper", "y0": 0, "y1": 1, "line": {"dash": "dot"}}],
        height=170 + 60 * len(pairs),
    )
    return Plot("Probability of improvement", caption, [trace], layout)
