"""Settings by the names that lead to them, such as ``algorithm.lr``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from typing import Any, get_args

from synrl_ray.settings.checked import setting_types

_NOT_SETTABLE = {"id", "summary", "target", "search_space", "name", "kind", "facts"}
_OF_ENVIRONMENTS = {"environment.id", "tasks.id"}


def setting_paths(settings: Any) -> list[str]:
    """Every path to a setting that can be changed."""
    return list(_leaves(settings))


def removable_paths(settings: Any) -> list[str]:
    """Every path to settings of several values that are there and need not be: ``null`` takes them away."""
    return list(_removable(settings))


def setting_type(settings: Any, path: str) -> Any:
    """The annotation of the setting at a path."""
    parent, _, name = path.rpartition(".")
    return setting_types(setting_at(settings, parent).__class__)[name]


def setting_at(settings: Any, path: str) -> Any:
    """The value at a path; all settings for an empty one."""
    return reduce(getattr, filter(None, path.split(".")), settings)


def with_settings(settings: Any, values: Mapping[str, Any]) -> Any:
    """The settings with these values at their paths. Each part is made once, so that the order does not matter."""
    below: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        below.setdefault(name, {})[rest] = value
    return replace(
        settings,
        **{name: new[""] if "" in new else with_settings(getattr(settings, name), new) for name, new in below.items()},
    )


def _removable(node: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(node):
        value = getattr(node, item.name)
        if is_dataclass(value) and item.name not in _NOT_SETTABLE:
            if type(None) in get_args(setting_types(node.__class__)[item.name]):
                yield prefix + item.name
            yield from _removable(value, f"{prefix}{item.name}.")


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(node):
        if item.name in _NOT_SETTABLE and (prefix + item.name) not in _OF_ENVIRONMENTS:
            continue
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name
