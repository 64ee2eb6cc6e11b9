"""Ranges of settings that a hyperparameter search draws from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import MinLen
from pydantic import Discriminator

from synrl_ray.settings.checked import SettingError, checked, from_json, settings_class
from synrl_ray.settings.paths import setting_paths, setting_type
from synrl_ray.settings.types import AsTuple, Positive


@settings_class
class NumberRange:
    """Numbers between two ends."""

    low: float = field(kw_only=False)
    high: float = field(kw_only=False)

    def __post_init__(self) -> None:
        """Refuse an empty range, and one so wide that no float holds its width."""
        if self.low >= self.high:
            raise SettingError((), f" is empty: {self.low:g}..{self.high:g}")
        if not math.isfinite(self._width()):
            raise SettingError((), f" is too wide: {self.low:g}..{self.high:g}")

    def _width(self) -> float:
        return self.high - self.low


@settings_class
class Uniform(NumberRange):
    """A number between ``low`` and ``high``."""

    kind: Literal["uniform"] = "uniform"


@settings_class
class LogUniform(NumberRange):
    """A number between ``low`` and ``high``, uniform in its logarithm."""

    low: Positive = field(kw_only=False)
    high: Positive = field(kw_only=False)
    kind: Literal["log_uniform"] = "log_uniform"

    def _width(self) -> float:
        return self.high / self.low


@settings_class
class Choice:
    """One of ``options``."""

    options: Annotated[tuple[Any, ...], AsTuple, MinLen(1)] = field(kw_only=False)
    kind: Literal["choice"] = "choice"

    def __post_init__(self) -> None:
        """Make tuples of lists, as which sizes come back from JSON."""
        object.__setattr__(self, "options", tuple(map(_as_tuple, self.options)))


Range = Annotated[LogUniform | Uniform | Choice, Discriminator("kind")]
SearchSpace = Mapping[str, Range]
"""Setting path → range."""


def checked_space(settings: Any) -> SearchSpace:
    """The ``search_space`` of an experiment, held to its settings; options that come from JSON as these have them.

    Raises:
        SettingError: for a path that leads to no setting, or a range with what its setting cannot be.
    """
    paths = setting_paths(settings)
    space = dict(settings.search_space)
    for path, bounds in space.items():
        if path not in paths:
            nearest = ", ".join(difflib.get_close_matches(path, paths, n=3, cutoff=0.5) or paths)
            raise SettingError(("search_space", path), f" is no setting: choose from {nearest}")
        try:
            kind = setting_type(settings, path)
            if isinstance(bounds, Choice):
                space[path] = Choice(tuple(_option(kind, option) for option in bounds.options))
            else:
                for value in ends_of(settings, path, bounds):
                    checked(kind, value)
        except SettingError as error:
            raise error.of("search_space", path) from None
    return space


def ends_of(settings: Any, path: str, bounds: Range) -> tuple[Any, ...]:
    """The least and the largest value that a search draws for the setting at a path, or all options.

    Raises:
        SettingError: if the setting is a whole number and the range holds none.
    """
    if isinstance(bounds, Choice):
        return bounds.options
    if not is_whole(settings, path):
        return bounds.low, bounds.high
    low, high = math.ceil(bounds.low), math.floor(bounds.high)
    if low > high:
        raise SettingError((), f" holds no whole number: {bounds.low:g}..{bounds.high:g}")
    return low, high


def is_whole(settings: Any, path: str) -> bool:
    """Whether the setting at a path is a whole number."""
    annotation = setting_type(settings, path)
    while get_origin(annotation) is not None and get_args(annotation) and annotation is not int:
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation is int


def _option(kind: Any, option: Any) -> Any:
    """An option, of settings that may be settings themselves, which JSON has as objects."""
    try:
        return checked(kind, option)
    except SettingError:
        if not isinstance(option, dict):
            raise
        return from_json(kind, option)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
