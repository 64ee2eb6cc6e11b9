"""Settings are checked where they are made and where they are read from JSON: one validator, one wording.

What is allowed stands in the annotations. Nothing is converted but whole numbers to floats and lists to tuples: text is
no number, and ``True`` is no 1. NaN and infinity are refused.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, cast, dataclass_transform, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from synrl_ray.errors import UserError

T = TypeVar("T")
Place = tuple[str | int, ...]

_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_ALLOWED = {
    "bool_type": "true or false",
    "dataclass_type": "a JSON object",
    "dict_type": "a dictionary",
    "finite_number": "finite",
    "float_type": "a number",
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "int_type": "a whole number",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "module:Class",
    "string_too_long": "at most {max_length} characters long",
    "string_type": "text",
    "too_long": "a list of at most {max_length} items",
    "too_short": "a list of at least {min_length} items",
    "tuple_type": "a list",
}
"""Pydantic's types of errors → what is allowed instead."""
_MOST_SHOWN = 60


class SettingError(UserError, ValueError):
    """A setting that cannot have its value.

    Args:
        place: the names and indices that lead to the setting, or to settings that do not fit one another.
        problem: what follows their name, with the space or colon before it, such as ``" must be > 0"``.
        got: the value, where it is not in the problem.
    """

    def __init__(self, place: Place, problem: str, got: str = "") -> None:
        self.place, self.problem, self.got = place, problem, got
        super().__init__(self.without_value + (f", got {got}" if got else ""))

    def __reduce__(self) -> tuple[type, tuple[Place, str, str]]:
        return type(self), (self.place, self.problem, self.got)

    @property
    def without_value(self) -> str:
        """The line without the value, for where that is named already."""
        return (_shown(self.place) + self.problem).lstrip(" :")

    def of(self, *outer: str | int) -> SettingError:
        """The same of a setting that these names lead to."""
        return SettingError((*outer, *self.place), self.problem, self.got)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def settings_class(cls: type[T]) -> type[T]:
    """Make a frozen dataclass with keywords only, whose values are held to their annotations.

    The validator is built when the first object is made, so that importing settings stays fast.

    Raises:
        SettingError: where an object is made of a value that is not allowed, without one that is needed, or with one
            of an unknown name; or whose ``__post_init__`` raises a ``ValueError``.

    Example:
        >>> from typing import Annotated
        >>> from annotated_types import Gt
        >>> @settings_class
        ... class Rates:
        ...     lr: Annotated[float, Gt(0)] = 0.1
        >>> Rates(lr=1)
        Rates(lr=1.0)
        >>> Rates(lr=-1)
        Traceback (most recent call last):
        synrl_ray.settings.checked.SettingError: Rates.lr must be > 0, got -1
    """
    made: Any = dataclass(frozen=True, kw_only=True)(cls)
    made.__pydantic_config__ = _CONFIG
    positional = [item.name for item in fields(made) if not item.kw_only]

    @functools.wraps(made.__init__)
    def __init__(self: Any, *args: Any, **given: Any) -> None:
        given = dict(zip(positional, args, strict=False)) | given
        try:
            if len(args) > len(positional):
                raise SettingError((type(self).__name__,), " takes settings by name")
            _adapter(self.__class__).validator.validate_python(ArgsKwargs((), given), self_instance=self)
        except ValidationError as error:
            raise _setting_error(error, type(self), given).of(type(self).__name__) from None

    made.__init__ = __init__
    return cast(type[T], made)


def from_json(kind: Any, data: Any, *place: str) -> Any:
    """Settings from JSON values.

    Args:
        kind: a class of settings, or a type that is made of such.
        data: JSON values.
        place: names that lead to the data, for errors.

    Raises:
        SettingError: naming a setting that is wrong, missing or unknown.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(data))
    except ValidationError as error:
        raise _setting_error(error, kind, data).of(*place) from None


def checked(kind: Any, value: Any, *place: str) -> Any:
    """A value as a setting of that type takes it.

    Raises:
        SettingError: if the setting cannot have it.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise _setting_error(error, kind, value).of(*place) from None


def to_json(settings: Any) -> Any:
    """Settings as JSON values: inverse of :func:`from_json`."""
    return _adapter(settings.__class__).dump_python(settings, mode="json")


@functools.cache
def setting_types(cls: type) -> dict[str, Any]:
    """The annotations of a class of settings."""
    return get_type_hints(cls, include_extras=True)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=None if is_dataclass(kind) else ConfigDict(strict=True, allow_inf_nan=False))


def _setting_error(error: ValidationError, kind: Any, given: Any) -> SettingError:
    """The error in one line. Of several types that a value may have, the one that took most of it is spoken of."""
    items = error.errors(include_url=False)
    places = [_place(item, given) for item in items]
    place = max(places, key=len)
    here = [item for item, at in zip(items, places, strict=True) if at == place]
    name, loc, ctx, value = here[0]["type"], here[0]["loc"], here[0].get("ctx", {}), here[0]["input"]
    if name == "value_error":
        cause = ctx["error"]
        return cause.of(*place) if isinstance(cause, SettingError) else SettingError(place, f": {cause}")
    if name == "missing":
        return SettingError(place, " is missing")
    if name == "unexpected_keyword_argument":
        return SettingError(place, f" is no setting: {_known(str(loc[-1]), _classes_at(kind, loc[:-1]))}")
    if name.startswith("union_tag") and isinstance(value, Mapping):
        tag = ctx["discriminator"].strip("'")
        allowed = _listed([repr(getattr(cls, tag)) for cls in _classes_at(kind, loc)])
        if tag not in value:
            return SettingError((*place, tag), f" is missing: choose {allowed}")
        return SettingError((*place, tag), f" must be {allowed}", _brief(value[tag]))
    allowed = _listed(list(dict.fromkeys(_allowed(item, kind) for item in here)))
    return SettingError(place, f" must be {allowed}", _brief(value))


def _place(item: Mapping[str, Any], given: Any) -> Place:
    """The names and indices of an error's location that the given data have; the others are names of types."""
    place: list[str | int] = []
    for name in item["loc"]:
        if isinstance(given, Mapping) and name in given:
            given = given[name]
        elif isinstance(given, list | tuple) and isinstance(name, int):
            given = given[name] if name < len(given) else None
        elif item["type"] != "missing" or name != item["loc"][-1]:
            continue
        place.append(name)
    return tuple(place)


def _allowed(item: Mapping[str, Any], kind: Any) -> str:
    if item["type"] in _ALLOWED:
        return _ALLOWED[item["type"]].format(**{name: _whole(value) for name, value in item.get("ctx", {}).items()})
    classes = _classes_at(kind, item["loc"])
    return _listed([cls.__name__ for cls in classes]) if classes else item["msg"].removeprefix("Input should be ")


def _classes_at(kind: Any, loc: Sequence[Any]) -> list[Any]:
    """The classes of settings that may stand at an error's location."""
    classes = _classes(kind)
    for name in loc:
        tagged = [cls for cls in classes if name in (getattr(cls, "name", None), getattr(cls, "kind", None))]
        annotations = [types[name] for cls in classes if name in (types := setting_types(cls))]
        if tagged or annotations:  # else a key of a dictionary, whose values are of these classes
            classes = tagged or [inner for annotation in annotations for inner in _classes(annotation)]
    return classes


def _classes(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [cls for part in get_args(annotation) for cls in _classes(part)]


def _known(name: str, owners: Sequence[Any]) -> str:
    names = [item.name for owner in owners for item in fields(owner)]
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"did you mean {_listed(nearest)}?" if nearest else f"choose from {', '.join(names)}"


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _whole(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _brief(value: Any) -> str:
    text = type(value).__name__ if is_dataclass(value) else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} …"


def _shown(place: Place) -> str:
    shown = ""
    for name in place:
        shown += f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{name!r}]"
    return shown.removeprefix(".")
