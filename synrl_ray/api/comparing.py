"""Comparing runs from Python, and writing a report of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import located, write_atomically
from synrl_ray.reporting.page import page
from synrl_ray.reporting.plots import require_plotly
from synrl_ray.reporting.side_by_side import SideBySide


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    file: Path
    comparison: SideBySide
    """What is in it."""


def compare(*runs: str | Path, trust: bool = False) -> SideBySide:
    """Put runs side by side; as ``synrl compare`` does. Ray is not started, and no folder is changed.

    Args:
        runs: folders of runs, of several seeds, or under ``experiments/results``; seeds of the same settings in one
            folder are put together.
        trust: import the modules of environments and networks, though this user has not made the runs here. Without
            it, such a policy is not looked into.

    Raises:
        UserError: for folders without runs, damaged files, or runs that differ in environment or protocol.
    """
    return _compared(runs, trust=trust, plays=False)


def report(*runs: str | Path, out: str | Path | None = None, markdown: bool = False, trust: bool = False) -> Report:
    """Write a page about runs, whole or not at all; as ``synrl report`` does.

    The page needs neither the network nor other files. Plotly draws it: the extra ``report``.

    Args:
        runs, trust: as of :func:`compare`.
        out: the file; ``report.html`` where not given, or ``report.md``.
        markdown: write the tables alone, as Markdown.

    Raises:
        UserError: as of :func:`compare`; for another suffix, a missing package, or a file that cannot be written.
    """
    suffix = ".md" if markdown else ".html"
    file = located(Path(f"report{suffix}" if out is None else out))
    if file.suffix != suffix:
        raise UserError(f"{file} is no name for what is written", f"let it end in {suffix}")
    if not markdown:
        require_plotly()  # before policies are looked into, which takes a while
    comparison = _compared(runs, trust=trust, plays=not markdown)
    content = comparison.markdown() if markdown else page(comparison)
    try:
        write_atomically(file, content)
    except OSError as error:
        problem = f"{file} cannot be written ({error.strerror or reason_of(error)})"
        raise UserError(problem, "choose another place for the report") from error
    return Report(file, comparison)


def _compared(runs: Sequence[str | Path], *, trust: bool, plays: bool) -> SideBySide:
    if not runs:
        raise UserError("no run is named", "name one folder at least")
    return SideBySide.of([located(Path(run)) for run in runs], trust=trust, plays=plays)
