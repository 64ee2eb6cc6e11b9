"""What is searched: ranges of settings, how they are drawn, and what the user may say about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

import numpy as np

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Choice, LogUniform, PolicyKind, Uniform
from synrl_ray.overrides import apply_overrides, read_value, resolve_setting, setting_type

Range = LogUniform | Uniform | Choice
Space = dict[str, Range]
"""Full path of each searched setting → its range."""

_DIGITS = 4  # significant ones of drawn numbers: a file, a table and a command line then show the same value


def search_space(
    experiment: AnyExperiment, policy: PolicyKind, *, extra: Sequence[str] = (), fixed: Sequence[str] = ()
) -> Space:
    """The ranges of a search.

    Args:
        experiment: its ``search_space`` is where to start from.
        policy: which policy is trained; ranges of its twin's settings are left out.
        extra: ``key=range`` each, instead of the experiment's range for that key or beside the others. A range is
            ``low..high``, ``log:low..high`` for one that is uniform in the logarithm, or ``a/b/c`` for a choice.
        fixed: keys that are set by hand, and so not searched.

    Raises:
        UserError: if there is nothing to search, or a range does not suit its setting.
    """
    space: Space = {}
    for key, bounds in experiment.search_space.items():
        space[_resolved(experiment, key)] = bounds
    for item in extra:
        key, separator, text = (part.strip() for part in item.partition("="))
        if not separator or not text:
            raise UserError(f"--space {item!r} is not key=range", "write for instance --space lr=log:1e-4..1e-2")
        path = resolve_setting(experiment, key)
        space[path] = _read_range(experiment, path, key, text)
    given = {resolve_setting(experiment, key) for key in fixed}
    twins = {f"{kind}." for kind in ("spiking", "ann") if kind != policy}
    chosen = {
        path: bounds
        for path, bounds in space.items()
        if path not in given and not any(path.startswith(prefix) for prefix in twins)
    }
    if not chosen:
        remedy = "write for instance --space lr=log:1e-4..1e-2, or give the experiment a search_space"
        raise UserError(f"{experiment.id} has nothing to search for its {policy} policy", remedy)
    for path, bounds in chosen.items():
        _check(experiment, path, bounds)
    return chosen


def draw(experiment: AnyExperiment, space: Mapping[str, Range], generator: np.random.Generator) -> dict[str, Any]:
    """Settings from their ranges, as JSON values."""
    return {path: draw_one(experiment, path, bounds, generator) for path, bounds in space.items()}


def draw_one(experiment: AnyExperiment, path: str, bounds: Range, generator: np.random.Generator) -> Any:
    """One setting from its range, a JSON value."""
    if isinstance(bounds, Choice):
        return as_json(bounds.options[int(generator.integers(len(bounds.options)))])
    if isinstance(bounds, LogUniform):
        value = math.exp(generator.uniform(math.log(bounds.low), math.log(bounds.high)))
    else:
        value = float(generator.uniform(bounds.low, bounds.high))
    return within(experiment, path, bounds, value)


def within(experiment: AnyExperiment, path: str, bounds: Range, value: Any) -> Any:
    """The nearest value that the range has: inside its ends, whole where the setting is, with few digits."""
    if isinstance(bounds, Choice):
        return as_json(value)
    if is_whole(experiment, path):
        return int(min(max(round(value), math.ceil(bounds.low)), math.floor(bounds.high)))
    return min(max(float(f"{value:.{_DIGITS}g}"), bounds.low), bounds.high)


def num_combinations(space: Mapping[str, Range]) -> float:
    """How many different settings there are; infinite with a range of numbers."""
    return math.prod(len(b.options) if isinstance(b, Choice) else math.inf for b in space.values())


def is_whole(experiment: AnyExperiment, path: str) -> bool:
    """Whether a setting is a whole number."""
    annotation = setting_type(experiment, path)
    while get_origin(annotation) is not None and get_args(annotation) and annotation is not int:
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation is int


def as_json(value: Any) -> Any:
    """A value as JSON has it: a list for a tuple."""
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _resolved(experiment: AnyExperiment, key: str) -> str:
    try:
        return resolve_setting(experiment, key)
    except UserError as error:
        raise UserError(f"search_space of {experiment.id}: {error.message}", error.remedy) from error


def _read_range(experiment: AnyExperiment, path: str, key: str, text: str) -> Range:
    logarithmic = text.startswith("log:")
    low, dots, high = text.removeprefix("log:").partition("..")
    if not dots and not logarithmic:
        return Choice(tuple(read_value(experiment, path, option.strip(), key) for option in text.split("/")))
    try:
        return (LogUniform if logarithmic else Uniform)(float(low), float(high))
    except ValueError as error:
        remedy = "write low..high, log:low..high, or a/b/c for a choice"
        raise UserError(f"--space {key}={text} is no range", remedy) from error


def _check(experiment: AnyExperiment, path: str, bounds: Range) -> None:
    """Raise :class:`UserError` for a range that is empty, or whose values the setting cannot have."""
    if isinstance(bounds, Choice):
        if not bounds.options:
            raise UserError(f"the choice for {path} has no options", "name some")
        ends: tuple[Any, ...] = bounds.options
    else:
        ends = (bounds.low, bounds.high)
        if not (math.isfinite(bounds.low) and math.isfinite(bounds.high) and bounds.low < bounds.high):
            raise UserError(f"the range of {path} is empty: {bounds.low:g}..{bounds.high:g}", "write low..high")
        if isinstance(bounds, LogUniform) and bounds.low <= 0:
            raise UserError(f"the range of {path} has no logarithm at {bounds.low:g}", "let it begin above 0")
        if is_whole(experiment, path):
            ends = (math.ceil(bounds.low), math.floor(bounds.high))
            if ends[0] > ends[1]:
                raise UserError(f"the range of {path} holds no whole number", "make it wider")
    for value in ends:
        try:
            apply_overrides(experiment, (), {path: as_json(value)})
        except UserError as error:
            raise UserError(f"the range of {path} holds what does not work: {error.message}", error.remedy) from error
