"""Runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from synrl_ray.policies.description import read_description
from synrl_ray.reporting.comparable import require_comparable
from synrl_ray.reporting.entries import Entry, found_entries
from synrl_ray.reporting.films import Footage, filmed
from synrl_ray.reporting.tables import Table, differing_settings, summary, versions
from synrl_ray.running.kind import Inside


@dataclass(frozen=True)
class SideBySide:
    """Runs that are judged alike, those that differ in their seed alone together."""

    entries: tuple[Entry, ...]
    insides: tuple[Inside | None, ...]
    """What was seen of each entry's policy; ``None`` where there is none."""
    films: tuple[Footage | None, ...] = ()
    """Of each entry that acts, where policies have played."""

    @staticmethod
    def of(places: Sequence[Path], *, trust: bool, plays: bool) -> SideBySide:
        """What lies in these folders; ``trust`` and ``plays`` as of :attr:`~synrl_ray.running.kind.Kind.inside`.

        Raises:
            UserError: for folders without runs, damaged files, or runs that are not judged alike.
        """
        entries = found_entries(places)
        require_comparable(entries)
        films = tuple(filmed(entry, trust=trust) for entry in entries) if plays else ()
        return SideBySide(entries, tuple(_inside(entry, trust, plays) for entry in entries), films)

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Summary, settings that differ, versions."""
        found = (summary(self.entries, self.insides), differing_settings(self.entries), versions(self.entries))
        return tuple(table for table in found if table is not None)

    def table(self) -> list[dict[str, Any]]:
        """A row for each entry and figure, with its interval; such as a data frame takes."""
        results = ((entry, entry.result) for entry in self.entries)
        return [
            {"entry": entry.label, "seeds": len(entry.runs), "not_ended": len(entry.unended), **row}
            for entry, result in results
            for row in (result.table() if result is not None else ({"figure": None, "value": None},))
        ]

    def markdown(self) -> str:
        """The tables as Markdown."""
        return "\n".join(map(_markdown, self.tables))

    def __repr__(self) -> str:
        return f"SideBySide({', '.join(entry.label for entry in self.entries)})"

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the summary."""
        return _markdown(self.tables[0])


def _inside(entry: Entry, trust: bool, plays: bool) -> Inside | None:
    return None if entry.policy is None else entry.kind.inside(read_description(entry.policy), trust, plays)


def _markdown(table: Table) -> str:
    head, *body = (f"| {' | '.join(map(_cell, row))} |\n" for row in table.rows)
    note = f"\n{_cell(table.note)}\n" if table.note else ""
    return f"**{table.title}**\n\n{head}{'|---' * len(table.rows[0])}|\n{''.join(body)}{note}"


def _cell(text: str) -> str:
    """Letters that Markdown or the HTML within it would read are written as themselves."""
    for letter in "\\`*[]|~":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
