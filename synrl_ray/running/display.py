"""The live view of running trainings: one bar for each run on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from synrl_ray.running.progress import Progress, Watcher
from synrl_ray.terminal import Lasting

_LINE_SECONDS = 5.0
_BAR_COLUMNS = 80  # on a narrower terminal the end of a bar's line would be cut


@contextmanager
def watch_runs(*, quiet: bool = False) -> Iterator[Watcher]:
    """A watcher that shows progress on standard error.

    Args:
        quiet: show plain lines even on a terminal, as suits machine-read output.
    """
    console = Console(
        file=cast(TextIO, Lasting(sys.stderr)),
        force_terminal=sys.stderr.isatty(),  # $FORCE_COLOR makes no terminal of a file
        force_jupyter=False,  # which would show each line by a cell of HTML
        highlight=False,
        markup=False,
        emoji=False,
    )
    if console.is_terminal and not console.is_dumb_terminal and console.width >= _BAR_COLUMNS and not quiet:
        with Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            refresh_per_second=4,
        ) as bars:
            yield _BarWatcher(bars)
    else:
        yield _LineWatcher(console)


class _BarWatcher:
    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.rows: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        for notice in progress.notices:
            self.bars.console.print(f"{progress.label}: {notice}", soft_wrap=True)
        status = _status(progress)
        if progress.phase != "starting":
            status = f"{_compact(progress.steps)}/{_compact(progress.total)}  {status}"
        row = self.rows.get(progress.label)
        if row is None:
            row = self.rows[progress.label] = self.bars.add_task(progress.label, total=None, status="")
        self.bars.update(
            row, total=progress.total or None, completed=min(progress.steps, progress.total), status=status
        )


class _LineWatcher:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.printed: dict[str, tuple[float, str]] = {}

    def __call__(self, progress: Progress) -> None:
        last, phase = self.printed.get(progress.label, (0.0, ""))
        now = time.monotonic()
        for notice in progress.notices:
            self.console.print(f"{progress.label}: {notice}", soft_wrap=True)
        milestone = progress.phase in ("starting", "done") and progress.phase != phase
        if milestone or now - last >= _LINE_SECONDS:
            self.printed[progress.label] = (now, progress.phase)
            self.console.print(f"{progress.label}: {_position(progress)}{_status(progress)}", soft_wrap=True)


def _compact(number: float) -> str:
    """A number in at most five characters, so that a line fits into 80 columns."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{suffix}"
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"


def _position(progress: Progress) -> str:
    if progress.phase == "starting":
        return ""
    return f"{progress.steps:>9,} / {progress.total:,} {progress.unit}  "


def _status(progress: Progress) -> str:
    if progress.phase == "starting":
        return "starting Ray and the environments"
    parts = [f"{name} {value:.1f}" if abs(value) >= 1 else f"{name} {value:.4f}" for name, value in progress.figures]
    if progress.phase in ("done", "evaluating"):
        return "  ".join([*parts, progress.phase])
    if progress.steps_per_second:
        parts.append(f"{_compact(progress.steps_per_second)} {progress.unit}/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "  ".join(parts)
