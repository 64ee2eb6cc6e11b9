"""What is searched: ranges of settings, how they are drawn, and what the user may say about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Choice, LogUniform, PolicyKind, Uniform
from synrl_ray.overrides import read_value, resolve_setting
from synrl_ray.settings.checked import SettingError, to_json
from synrl_ray.settings.paths import with_settings
from synrl_ray.settings.search import Range, ends_of, is_whole

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
    space: Space = dict(experiment.search_space)
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
        try:
            for value in ends_of(experiment, path, bounds):
                with_settings(experiment, {path: value})
        except ValueError as error:
            raise UserError(f"the range of {path} holds what does not work: {error}") from error
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


def as_json(value: Any) -> Any:
    """A value as JSON has it: a list for a tuple, a mapping for settings."""
    if is_dataclass(value):
        return to_json(value)
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _read_range(experiment: AnyExperiment, path: str, key: str, text: str) -> Range:
    logarithmic = text.startswith("log:")
    low, dots, high = text.removeprefix("log:").partition("..")
    remedy = "write low..high, log:low..high, or a/b/c for a choice"
    try:
        if not dots and not logarithmic:
            return Choice(tuple(read_value(experiment, path, option.strip(), key) for option in text.split("/")))
        return (LogUniform if logarithmic else Uniform)(float(low), float(high))
    except SettingError as error:
        raise UserError(f"--space {key}={text} is no range ({error})", remedy) from error
    except ValueError as error:
        raise UserError(f"--space {key}={text} is no range", remedy) from error
