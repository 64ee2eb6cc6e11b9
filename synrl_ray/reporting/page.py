"""The report as one page that needs nothing else: no file, no network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synrl_ray.reporting.curve_plots import adaptation, learning_curves
from synrl_ray.reporting.entries import Entry
from synrl_ray.reporting.inside_plots import confusion, raster, weights
from synrl_ray.reporting.plots import Plot, plotly_script
from synrl_ray.reporting.score_plots import over_runs, score_against_energy
from synrl_ray.reporting.side_by_side import SideBySide
from synrl_ray.reporting.tables import all_settings
from synrl_ray.results import versions
from synrl_ray.running.again import train_words

_TEMPLATES = Path(__file__).with_name("templates")


def page(comparison: SideBySide) -> str:
    """The HTML. All that comes from a run's folder is a stranger's: the template escapes it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    script = plotly_script()
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, **options)
    entries = comparison.entries
    films = [(entry, film) for entry, film in zip(entries, comparison.films, strict=False) if film is not None]
    return templates.get_template("page.html").render(
        title=" · ".join(dict.fromkeys(entry.experiment for entry in entries)),
        entries=[entry.label for entry in entries],
        tables=comparison.tables,
        plots=[(plot, Markup(plot.as_json())) for plot in _plots(comparison)],
        films=[(entry.label, film) for entry, film in films if film.source],
        notes=[(entry.label, found.note) for entry, found in (*_insides(comparison), *films) if found.note],
        commands=[(entry.label, _commands(entry)) for entry in entries],
        settings=[all_settings(entry) for entry in entries if entry.spec is not None],
        version=versions().get("synrl-ray", ""),
        plotly=Markup(script),
    )


def _insides(comparison: SideBySide) -> Iterator[tuple[Entry, Any]]:
    both = zip(comparison.entries, comparison.insides, strict=True)
    return ((entry, inside) for entry, inside in both if inside is not None)


def _plots(comparison: SideBySide) -> Iterator[Plot]:
    entries = comparison.entries
    yield from learning_curves(entries)
    yield from adaptation(entries)
    yield from score_against_energy(entries)
    yield from over_runs(entries)
    for entry in entries:
        yield from confusion(entry)
    for entry, inside in _insides(comparison):
        yield from raster(entry, inside)
    for entry, inside in _insides(comparison):
        yield from weights(entry, inside)


def _commands(entry: Entry) -> list[str]:
    """That train the entry again: one where its seeds are the first ones, else one for each."""
    specs = [run.spec for run in entry.runs if run.spec is not None]
    if len(specs) > 1 and entry.seeds == tuple(range(len(specs))):
        words = [train_words(specs[0], seeds=len(specs))]
    else:
        words = [train_words(spec) for spec in specs]
    return [shlex.join(["synrl", *map(str, each)]) for each in words if each is not None]
