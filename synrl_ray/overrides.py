"""``--set key=value`` on a typed experiment, and the experiment as JSON and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from typing import Any, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, ClassificationExperiment, Experiment, LocalExperiment

_TASKS = {"classification": ClassificationExperiment, "local": LocalExperiment}
_NOT_SETTABLE = {"id", "summary", "target", "search_space", "name", "kind", "task"}


def apply_overrides(experiment: AnyExperiment, assignments: Iterable[str]) -> AnyExperiment:
    """Return the experiment with settings replaced.

    Args:
        experiment: where to start from.
        assignments: ``key=value`` each. A key is a path (``algorithm.lr``) or, where only one path ends in it,
            its last name (``lr``); ``env`` stands for ``environment.id``. Values are read as JSON where they can
            be (``true``, ``3e-4``, ``null``); a list is written ``64,64``.

    Settings that must fit one another are judged together, so their order does not matter.

    Raises:
        UserError: for an unknown or ambiguous key, a value of the wrong type, or settings that refuse one another.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    for assignment in assignments:
        key, separator, text = (part.strip() for part in assignment.partition("="))
        if not separator:
            raise UserError(f"--set {assignment!r} is not key=value", "write for instance --set lr=3e-4")
        path = _resolve(experiment, key)
        values[path] = _coerce(_annotation(experiment, path), text, key)
        given[key] = text
    try:
        return cast(AnyExperiment, _replace(experiment, values))
    except ValueError as error:
        settings = " and ".join(f"{key} = {text}" for key, text in given.items())
        raise UserError(f"{settings} {'does' if len(given) == 1 else 'do'} not fit", str(error)) from error


def setting_paths(experiment: AnyExperiment) -> list[str]:
    """Every path that ``--set`` takes."""
    return list(_leaves(experiment))


def experiment_to_json(experiment: AnyExperiment) -> dict[str, Any]:
    """The experiment in JSON values."""
    return cast(dict[str, Any], TypeAdapter(type(experiment)).dump_python(experiment, mode="json"))


def experiment_from_json(data: dict[str, Any]) -> AnyExperiment:
    """Inverse of :func:`experiment_to_json`.

    Raises:
        ValueError: naming the first field that is wrong.
    """
    task = data.get("task") if isinstance(data, dict) else "control"
    kind: Any = _TASKS.get(str(task), Experiment)
    try:
        return cast(AnyExperiment, TypeAdapter(kind).validate_json(json.dumps(data), strict=False))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for item in fields(node):
        if item.name in _NOT_SETTABLE and not (prefix == "environment." and item.name == "id"):
            continue
        value = getattr(node, item.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


def _resolve(experiment: AnyExperiment, key: str) -> str:
    paths = setting_paths(experiment)
    if key == "env" and hasattr(experiment, "environment"):
        return "environment.id"
    if key in paths:
        return key
    matches = [path for path in paths if path.endswith(f".{key}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"setting {key!r} is ambiguous", f"write one of {', '.join(matches)}")
    short = {path.rsplit(".", 1)[-1]: path for path in paths}
    nearest = difflib.get_close_matches(key, [*paths, *short], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(nearest)}? " if nearest else ""
    raise UserError(f"unknown setting {key!r}", f"{hint}valid are {', '.join(paths)}")


def _annotation(node: Any, path: str) -> Any:
    """Declared type of a setting."""
    *parents, name = path.split(".")
    return get_type_hints(type(reduce(getattr, parents, node)), include_extras=True)[name]


def _replace(node: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass with the values at these paths, each part of it made once."""
    below: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        below.setdefault(name, {})[rest] = value
    return replace(
        node,
        **{name: new[""] if "" in new else _replace(getattr(node, name), new) for name, new in below.items()},
    )


def _coerce(annotation: Any, text: str, key: str) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
    problem = ""
    for candidate in _readings(text):
        try:
            return adapter.validate_python(candidate)
        except ValidationError as error:
            problem = problem or error.errors()[0]["msg"]
    raise UserError(f"setting {key!r} cannot be {text!r}", problem[:1].lower() + problem[1:])


def _readings(text: str) -> Iterator[Any]:
    """What the text may mean: a JSON value, a comma-separated list, or just text."""
    with suppress(ValueError):
        yield json.loads(text)
    if "," in text:
        yield [part.strip() for part in text.split(",") if part.strip()]
    yield text
    yield [text]
