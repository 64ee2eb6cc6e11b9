"""What is compared: the runs below the folders that are named, read, those that differ in their seed put together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of, kind_of_policy
from synrl_ray.policies.description import DESCRIPTION_FILE, damage_of, read_description
from synrl_ray.reporting.words import plain
from synrl_ray.results import RESULT_FILE, Result, read_result
from synrl_ray.running.kind import Kind
from synrl_ray.running.run_folder import CONFIG, RunFolder
from synrl_ray.running.spec import RunSpec

_LEVELS = 3
"""Of folders, below the one that is named, in which runs are looked for."""


@dataclass(frozen=True)
class Run:
    """One seed; or all of them, in a folder of old results."""

    folder: Path
    spec: RunSpec | None
    """``None`` of old results, beside which no settings lie."""
    result: Result | None
    """``None`` of a run that has not ended."""
    rows: list[dict[str, Any]] = field(repr=False)
    """Of its metrics."""


@dataclass(frozen=True)
class Entry:
    """The seeds of one experiment with the same settings: a column of the comparison."""

    label: str
    runs: tuple[Run, ...]
    kind: Kind[Any]
    result: Result | None
    """Of all seeds that have ended, ``None`` where none has."""
    policy: Path | None
    """The folder whose policy is looked into."""

    @property
    def spec(self) -> RunSpec | None:
        """Of the first seed."""
        return self.runs[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """That were trained, or are."""
        known = tuple(run.spec.seed for run in self.runs if run.spec is not None)
        return known or (self.result.seeds if self.result is not None else ())

    @property
    def experiment(self) -> str:
        """Its id."""
        return plain(self.spec.experiment.id if self.spec else self.result.experiment if self.result else "")

    @property
    def trained(self) -> str:
        """What kind of policy."""
        return plain(self.spec.policy if self.spec else self.result.policy if self.result else "")

    @property
    def unended(self) -> tuple[Run, ...]:
        """The seeds that were interrupted, or are still training."""
        return tuple(run for run in self.runs if run.result is None)

    def scores(self) -> tuple[float, ...]:
        """The score of each seed; none unless all are known."""
        known = [run.result.figures[run.result.score] for run in self.runs if run.result is not None]
        scores = [score for score in known if score is not None]
        return tuple(scores) if len(scores) == len(self.runs) else ()

    @property
    def sign(self) -> int:
        """-1 where a smaller score is better."""
        name = "" if self.result is None else self.result.score
        stems = (
            (each.column.removeprefix("evaluation_").removesuffix("_mean"), each.sign) for each in self.kind.scores
        )
        return next((sign for stem, sign in stems if name.startswith(stem)), 1)


def found_entries(places: Sequence[Path]) -> tuple[Entry, ...]:
    """The entries of all places, each run once, in the order in which they are named.

    Raises:
        UserError: for a place without runs, or damaged files.
    """
    sets: list[tuple[Path, list[Run]]] = []
    seen: set[Path] = set()
    for folder in (folder for place in places for folder in _runs_below(place)):
        if folder.resolve() not in seen:
            seen.add(folder.resolve())
            _put(_read(folder), sets)
    entries = [_entry(origin, runs) for origin, runs in sets]
    return tuple(replace(entry, label=label) for entry, label in zip(entries, _labels(entries), strict=True))


def _runs_below(place: Path) -> list[Path]:
    """The place itself; the seeds of a committed result, the runs in it, or those of the folders in it."""
    found = _searched(place, _LEVELS)
    if not found:
        raise UserError(
            f"{place} holds no run", "name a run's folder, one of several seeds, or experiments/results/..."
        )
    return found


def _searched(place: Path, levels: int) -> list[Path]:
    """The runs in a folder; where it has none, those of the first level below it that has, if it is not too deep."""
    folders = [place]
    for _ in range(1 + levels):
        if found := [run for folder in folders for run in _runs_in(folder)]:
            return found
        folders = [child for folder in folders for child in _folders_in(folder)]
    return []


def _folders_in(folder: Path) -> list[Path]:
    """Those that are not hidden, if they may be read."""
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def _runs_in(folder: Path) -> list[Path]:
    seeds = [path.parent for path in folder.glob(f"seed*/{CONFIG}")]
    if seeds:
        return sorted(seeds, key=lambda path: (len(path.name), path.name))  # seed2 before seed10
    is_old = all((folder / name).is_file() for name in (RESULT_FILE, DESCRIPTION_FILE))
    return [folder] if is_old or (folder / CONFIG).is_file() else []


def _read(folder: Path) -> Run:
    run = RunFolder(folder)
    spec = run.spec() if (folder / CONFIG).exists() else None
    return Run(folder, spec, _sound(run.result(), folder), run.metrics())


def _sound(result: Result | None, folder: Path) -> Result | None:
    """The result, whose numbers can be reckoned with; JSON has whole numbers that no float holds."""
    with damage_of(folder / RESULT_FILE):
        for training in () if result is None else result.training:
            math.isfinite(training.steps_per_second)
    return result


def _put(run: Run, sets: list[tuple[Path, list[Run]]]) -> None:
    """Beside those of the same folder that differ in the seed alone."""
    origin, spec = run.folder.parent, run.spec
    for place, runs in sets:
        others = [each.spec for each in runs if each.spec is not None]
        same = spec is not None and others and place == origin and replace(spec, seed=0) == replace(others[0], seed=0)
        if same and spec is not None and spec.seed not in [other.seed for other in others]:
            runs.append(run)
            return
    sets.append((origin, [run]))


def _entry(origin: Path, runs: list[Run]) -> Entry:
    runs.sort(key=lambda run: run.spec.seed if run.spec is not None else 0)
    spec = runs[0].spec
    kind = kind_of_policy(read_description(runs[0].folder)) if spec is None else kind_of(spec.experiment)
    results = [run.result for run in runs if run.result is not None]
    result = results[0] if len(results) == 1 else None
    if spec is not None and len(results) > 1:
        result = _recorded(origin, spec, runs) if len(results) == len(runs) else None
        with damage_of(origin, "leave it out, or restore it"):
            result = result or kind.combine(results, spec)
    folders = (run.folder for run in runs)
    policy = next((place for place in (*folders, origin) if (place / DESCRIPTION_FILE).is_file()), None)
    return Entry("", tuple(runs), kind, result, policy)


def _recorded(origin: Path, spec: RunSpec, runs: Sequence[Run]) -> Result | None:
    """What the folder of the seeds says of all of them, where it does; it may know more than old seeds' results."""
    recorded = _sound(read_result(origin), origin)
    seeds = tuple(run.spec.seed for run in runs if run.spec is not None)
    is_theirs = recorded is not None and (recorded.policy, recorded.seeds) == (spec.policy, seeds)
    return recorded if is_theirs else None


def _labels(entries: Sequence[Entry]) -> Iterator[str]:
    """Experiment and policy; with the folder, its path or a number where that is not enough to tell entries apart."""
    names = [plain(f"{entry.experiment} {entry.trained}") for entry in entries]
    firsts = [entry.runs[0].folder for entry in entries]
    together = [len(entry.runs) > 1 or entry.runs[0].folder.name.startswith("seed") for entry in entries]
    places = [first.parent if many else first for first, many in zip(firsts, together, strict=True)]
    additions = ([place.name for place in places], places, firsts, range(1, len(entries) + 1))
    columns = [names] + [
        [f"{name} ({plain(more)})" for name, more in zip(names, column, strict=True)] for column in additions
    ]
    counts = [Counter(column) for column in columns]
    for choices in zip(*columns, strict=True):
        yield next(label for label, count in zip(choices, counts, strict=True) if count[label] == 1)
