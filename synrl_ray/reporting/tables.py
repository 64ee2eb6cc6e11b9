"""The tables of a comparison, which page, terminal and Markdown have in common: a column for each entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean, median
from typing import Any

from synrl_ray.reporting.comparable import judged_by
from synrl_ray.reporting.entries import Entry
from synrl_ray.reporting.words import MISSING, duration, in_words, number, plain
from synrl_ray.results import Interval, Result
from synrl_ray.running.kind import Inside

Row = tuple[str, ...]
_PICOJOULES = 1000.0  # in a nanojoule
_LEAST_PICOJOULES, _MOST_PICOJOULES = 1e-9, 1e18  # in a decision, a stranger's number or not
_MOST_ROWS = 20
"""Of what a stranger's result may have any number of."""


@dataclass(frozen=True)
class Table:
    """Words only; the first row is the head."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


def summary(entries: Sequence[Entry], insides: Sequence[Inside | None]) -> Table:
    """Score and further figures with their intervals, how long training took, what a decision costs."""
    rows = [
        ("", *(entry.label for entry in entries)),
        ("seeds", *map(_seeds, entries)),
        *([("not ended", *map(_unended, entries))] if any(entry.unended for entry in entries) else []),
        ("score", *(MISSING if entry.result is None else _score(entry.result) for entry in entries)),
        ("its interval", *map(_basis, entries)),
        *_further_figures(entries),
        ("seeds that end at the target", *map(_target, entries)),
        (f"{entries[0].kind.unit.words} a seed", *(number(_mean_steps(entry)) for entry in entries)),
        ("time a seed", *map(_time, entries)),
        (f"{entries[0].kind.unit.short} a second", *map(_speed, entries)),
        ("steps to the target, median", *map(_steps_to_target, entries)),
        ("parameters", *(_parameters(*both) for both in zip(entries, insides, strict=True))),
        ("energy a decision", *(_energy(entry.result, "") for entry in entries)),
        ("energy a decision, strict count", *(_energy(entry.result, "_strict") for entry in entries)),
    ]
    known = (row for row in rows if any(cell != MISSING for cell in row[1:]))
    return Table("Summary", tuple(known), _protocol(entries))


def differing_settings(entries: Sequence[Entry]) -> Table | None:
    """The settings that are not the same in all entries; ``None`` where there are none."""
    columns = [settings_of(entry) for entry in entries]
    known = [column for column in columns if column]
    names = list(dict.fromkeys(name for column in known for name in column))
    differing = [name for name in names if len({column.get(name, MISSING) for column in known}) > 1]
    if not differing:
        return None
    rows = [(plain(name), *(column.get(name, MISSING) for column in columns)) for name in differing]
    return Table("Settings that differ", (("", *(entry.label for entry in entries)), *rows))


def all_settings(entry: Entry) -> Table:
    """Every setting of an entry."""
    rows = [(plain(name), value) for name, value in settings_of(entry).items()]
    return Table(entry.label, (("setting", "value"), *rows))


def settings_of(entry: Entry) -> dict[str, str]:
    """Name → value, of what a run is made of, without seed and search space; nothing where it is not known."""
    if entry.spec is None:
        return {}
    data = entry.spec.to_json()
    data["experiment"] = {name: value for name, value in data["experiment"].items() if name != "search_space"}
    flat = dict(_flat({**data.pop("experiment"), **data}))
    return {name: value for name, value in flat.items() if name not in ("format", "seed")}


def versions(entries: Sequence[Entry]) -> Table | None:
    """What made the results; ``None`` where no result says so."""
    made = [None if entry.result is None else entry.result.provenance for entry in entries]
    columns = [{**(each.versions or {}), "commit": each.commit or MISSING} if each else {} for each in made]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(plain(name), *(plain(column.get(name, MISSING)) for column in columns)) for name in names[:_MOST_ROWS]]
    return Table("Versions", (("", *(entry.label for entry in entries)), *rows)) if rows else None


def with_bounds(value: float | None, interval: Interval | None) -> str:
    """A figure, and its interval where there is one."""
    return number(value) + ("" if interval is None else f" ({number(interval.low)} to {number(interval.high)})")


def energy_of(result: Result | None, count: str, whose: str = "policy") -> float | None:
    """Nanojoules a decision, by the usual count (``""``) or the strict one; ``None`` where a result does not say."""
    counted = (result.energy or {}).get(f"{whose}{count}") if result is not None else None
    value: Any = counted.get("energy_pj") if isinstance(counted, Mapping) else None
    is_known = type(value) in (int, float) and _LEAST_PICOJOULES <= value <= _MOST_PICOJOULES
    return value / _PICOJOULES if is_known else None


def _flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node:
        for name, inner in node.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    else:
        yield path, plain(node if isinstance(node, str) else json.dumps(node), 200)


def _seeds(entry: Entry) -> str:
    return plain(f"{len(entry.seeds)} ({', '.join(map(str, entry.seeds))})")


def _unended(entry: Entry) -> str:
    column = entry.kind.unit.column
    reached = [number(run.rows[-1].get(column) if run.rows else 0) for run in entry.unended]
    if not reached:
        return MISSING
    return plain(f"{len(reached)} of {len(entry.runs)}, interrupted or still training, at {', '.join(reached)} steps")


def _score(result: Result) -> str:
    return f"{in_words(result.score)}: {with_bounds(result.figures[result.score], result.interval(result.score))}"


def _basis(entry: Entry) -> str:
    interval = None if entry.result is None else entry.result.interval(entry.result.score)
    return (
        MISSING if interval is None else f"{interval.level:.0%} over {plain(interval.over)}, {plain(interval.method)}"
    )


def _further_figures(entries: Sequence[Entry]) -> Iterator[Row]:
    """Those that have an interval in an entry, without what is measured on the way to a target."""
    results = [entry.result for entry in entries]
    scores = {result.score for result in results if result is not None}
    names = dict.fromkeys(each.of for result in results if result is not None for each in result.intervals)
    for name in islice(names, _MOST_ROWS):
        if not (scores == {name} or "to_target" in name):
            cells = (MISSING if r is None else with_bounds(r.figures.get(name), r.interval(name)) for r in results)
            yield in_words(name), *cells


def _target(entry: Entry) -> str:
    target = None if entry.result is None else entry.result.target
    if entry.result is None or target is None:
        return MISSING
    bounds = ", ".join(f"{in_words(name)} {number(bound)}" for name, bound in (target.bounds or {}).items())
    return f"{target.at_end} of {len(entry.result.training)}" + (f" ({plain(bounds)})" if bounds else "")


def _mean_steps(entry: Entry) -> int | None:
    steps = [each.steps for each in (entry.result.training if entry.result else ()) if each.steps is not None]
    return round(mean(steps)) if steps else None


def _time(entry: Entry) -> str:
    seconds = [each.wall_seconds for each in (entry.result.training if entry.result else ())]
    return duration(mean(seconds)) if seconds else MISSING


def _speed(entry: Entry) -> str:
    speeds = [each.steps_per_second for each in (entry.result.training if entry.result else ()) if each.steps]
    return number(float(f"{mean(speeds):.3g}")) if speeds else MISSING


def _steps_to_target(entry: Entry) -> str:
    steps = [each.steps_to_target for each in (entry.result.training if entry.result else ())]
    known = [each for each in steps if each is not None]
    return number(round(median(known))) + _of(len(known), len(steps)) if known else MISSING


def _of(some: int, all_: int) -> str:
    return "" if some == all_ else f" of {some} of {all_} seeds"


def _parameters(entry: Entry, inside: Inside | None) -> str:
    counted = (entry.result.energy or {}).get("policy") if entry.result is not None else None
    value = counted.get("parameters") if isinstance(counted, Mapping) else None
    if type(value) is int:
        return number(value)
    return MISSING if inside is None else number(inside.parameters)


def _energy(result: Result | None, count: str) -> str:
    own, twin = energy_of(result, count), energy_of(result, count, "matched_ann")
    if own is None:
        return MISSING
    return f"{number(own)} nJ" + ("" if twin is None else f" (twin {number(twin)} nJ, ratio {number(own / twin)})")


def _protocol(entries: Sequence[Entry]) -> str:
    facts = {name: value for entry in reversed(entries) for name, value in judged_by(entry).items() if name != "kind"}
    words = (
        f"{name.replace('_', ' ')} {plain(json.dumps(value))}" for name, value in facts.items() if value is not None
    )
    return plain(f"Judged by: {'; '.join(words)}.", 1000)
