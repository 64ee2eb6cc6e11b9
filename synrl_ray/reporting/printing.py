"""A comparison in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from synrl_ray.reporting.side_by_side import SideBySide


def print_comparison(comparison: SideBySide) -> None:
    """Its tables, and what could not be looked into."""
    console = Console(highlight=False, markup=False, emoji=False)
    for table in comparison.tables:
        head, *body = table.rows
        shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for name in head:
            shown.add_column(Text(name), overflow="fold")
        for row in body:
            shown.add_row(*map(Text, row))
        console.print(shown)
        if table.note:
            console.print(Text(table.note))
