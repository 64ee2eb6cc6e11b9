"""Whether two results say the same, up to the rounding of floating-point sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synrl_ray.results.schema import Episodes, Result

_RELATIVE, _ABSOLUTE = 1e-5, 1e-7
"""Single precision, and sums in another order on another processor."""

Numbers = Sequence[float | None]


def differences(recorded: Result, found: Result) -> list[str]:
    """One line for each figure, interval or episode of ``recorded`` that ``found`` has otherwise.

    What only one of them has is no difference: results of version 1 know less. How long something took, where it is
    from and what it used for energy are not compared.
    """
    return [*_of_figures(recorded.figures, found.figures), *_of_intervals(recorded, found), *_of_parts(recorded, found)]


def same_number(a: float | None, b: float | None) -> bool:
    """Whether two numbers differ by rounding only; ``None`` is the same as ``None`` alone."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _of_figures(recorded: Mapping[str, float | None], found: Mapping[str, float | None]) -> Iterator[str]:
    for name, value in recorded.items():
        if name in found and not same_number(value, found[name]):
            yield f"{name} is recorded as {_shown(value)}, found {_shown(found[name])}"


def _of_intervals(recorded: Result, found: Result) -> Iterator[str]:
    for interval in recorded.intervals:
        other = found.interval(interval.of)
        if other is not None and not _same([interval.low, interval.high], [other.low, other.high]):
            yield (
                f"the interval of {interval.of} is recorded as {_shown(interval.low)} to {_shown(interval.high)}, "
                f"found {_shown(other.low)} to {_shown(other.high)}"
            )


def _of_parts(recorded: Result, found: Result) -> Iterator[str]:
    for way in ("greedy", "sampled", "zeroed"):
        before, after = getattr(recorded, way), getattr(found, way)
        if before is not None and after is not None:
            yield from _of_episodes(way, before, after)
    if recorded.adaptation is not None and found.adaptation is not None:
        for part in ("by_step", "untrained", "tasks"):
            before, after = getattr(recorded.adaptation, part), getattr(found.adaptation, part)
            for name in before.keys() & after.keys():
                if not _same(before[name], after[name]):
                    yield f"{part.replace('_', ' ')} of {name} differ: {_first_other(before[name], after[name])}"
    if recorded.confusion is not None and found.confusion is not None and recorded.confusion != found.confusion:
        yield "the confusion of classes differs"
    before, after = recorded.comparison, found.comparison
    if before is not None and after is not None and not _alike(before.get("learners"), after.get("learners")):
        yield "the comparison of learners differs"
    for name in recorded.per_seed.keys() & found.per_seed.keys():
        if not _same(recorded.per_seed[name], found.per_seed[name]):
            yield f"{name} of the seeds differs: {_first_other(recorded.per_seed[name], found.per_seed[name])}"


def _of_episodes(way: str, recorded: Episodes, found: Episodes) -> Iterator[str]:
    if recorded.seeds != found.seeds:
        yield f"the {way} episodes have other seeds"
        return
    for name in ("returns", "lengths"):
        before, after = getattr(recorded, name), getattr(found, name)
        if before is not None and after is not None and not _same(before, after):
            yield f"{name} of {way} episodes differ: {_first_other(before, after, recorded.seeds)}"
    if recorded.distinct is not None and found.distinct is not None and recorded.distinct != found.distinct:
        yield f"{recorded.distinct} {way} episodes are recorded as distinct, found {found.distinct}"


def _same(recorded: Numbers, found: Numbers) -> bool:
    return len(recorded) == len(found) and all(map(same_number, recorded, found))


def _alike(recorded: Any, found: Any) -> bool:
    """The same of whatever JSON can hold."""
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        return recorded.keys() == found.keys() and all(_alike(recorded[key], found[key]) for key in recorded)
    if isinstance(recorded, list | tuple) and isinstance(found, list | tuple):
        return len(recorded) == len(found) and all(map(_alike, recorded, found))
    if isinstance(recorded, int | float) and isinstance(found, int | float):
        return same_number(recorded, found)
    return bool(recorded == found)


def _first_other(recorded: Numbers, found: Numbers, labels: Sequence[int] | None = None) -> str:
    """The first place where they part; ``labels`` name places better than their order."""
    if len(recorded) != len(found):
        return f"{len(recorded)} are recorded, {len(found)} found"
    at = next(i for i, (a, b) in enumerate(zip(recorded, found, strict=True)) if not same_number(a, b))
    place = f"that of seed {labels[at]}" if labels else f"number {at}"
    return f"{place} is recorded as {_shown(recorded[at])}, found {_shown(found[at])}"


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.9g}"
