"""``--set key=value`` on a typed experiment, and the experiment as JSON and back."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, cast

from synrl_ray.errors import UserError, reason_of
from synrl_ray.experiment import AnyExperiment
from synrl_ray.files import read_bounded
from synrl_ray.settings.checked import SettingError, from_json, to_json
from synrl_ray.settings.paths import removable_paths, setting_at, setting_paths, setting_type, with_settings
from synrl_ray.settings.policies import require_known_code

_MOST_BYTES = 1024**2
_PYTHON = {"True": True, "False": False, "None": None}
_PROBLEM = ("environment.id", "environment.kwargs", "tasks.", "data.digits")


def apply_overrides(
    experiment: AnyExperiment, assignments: Iterable[str], settings: Mapping[str, Any] | None = None
) -> AnyExperiment:
    """Return the experiment with settings replaced.

    Args:
        experiment: where to start from.
        assignments: ``key=value`` each. A key is a path (``algorithm.lr``) or, where only one path ends in it,
            its last name (``lr``); ``env`` stands for ``environment.id``. Values are read as JSON where they can
            be (``true``, ``3e-4``, ``null``); a list is written ``64,64``.
        settings: key and JSON value each, as in a file of ``--config``; the assignments come after them.

    Settings that must fit one another are judged together, so their order does not matter. A target is for the problem
    that the experiment names: with another environment or other tasks there is none, nor a return to stop at.

    Raises:
        UserError: for an unknown or ambiguous key, a value of the wrong type, or settings that refuse one another.
    """
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in (settings or {}).items():
        key, text = str(name), _json_text(name, value)
        path = resolve_setting(experiment, key)
        values[path] = _coerce(setting_type(experiment, path), _exactly(value), key, text)
        given[key] = text
    for assignment in assignments:
        key, separator, text = (part.strip() for part in assignment.partition("="))
        if not separator:
            raise UserError(f"--set {assignment!r} is not key=value", "write for instance --set lr=3e-4")
        path = resolve_setting(experiment, key)
        values[path] = read_value(experiment, path, text, key)
        given[key] = text
    if any(path.startswith(_PROBLEM) and value != setting_at(experiment, path) for path, value in values.items()):
        values["target"] = None
        if hasattr(experiment.stopping, "mean_return"):
            values.setdefault("stopping.mean_return", None)
    try:
        return cast(AnyExperiment, with_settings(experiment, values))
    except ValueError as error:
        listed = " and ".join(f"{key} = {text}" for key, text in given.items())
        raise UserError(f"{listed} {'does' if len(given) == 1 else 'do'} not fit", str(error)) from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a JSON file, key and value each, as ``synrl tune`` writes them to ``best.json``.

    Raises:
        UserError: if there is no such file, or it holds something else.
    """
    try:
        content = read_bounded(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
        raise UserError(f"{path} cannot be read ({reason})", "name a JSON file of settings") from error
    try:
        data = json.loads(content, parse_constant=_refuse_constant)
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is no JSON ({error})", 'write for instance {"lr": 3e-4}') from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no settings", 'write for instance {"lr": 3e-4}')
    return data


def read_value(experiment: AnyExperiment, path: str, text: str, key: str) -> Any:
    """A setting's value from its text on the command line.

    Args:
        experiment: whose setting.
        path: full path of the setting.
        text: the value.
        key: what the user calls the setting.

    Raises:
        UserError: if the setting cannot have that value.
    """
    return _coerce(setting_type(experiment, path), _readings(text), key, repr(text))


def setting_values(experiment: AnyExperiment, keys: Iterable[str]) -> dict[str, Any]:
    """Full paths and JSON values of settings, as :func:`read_settings` reads them."""
    data = experiment_to_json(experiment)
    paths = [resolve_setting(experiment, key) for key in keys]
    return {path: reduce(lambda node, name: node[name], path.split("."), data) for path in paths}


def changed_settings(experiment: AnyExperiment, base: AnyExperiment) -> list[str]:
    """The ``key=value`` that make the experiment from the base: inverse of :func:`apply_overrides`."""
    mine, before = experiment_to_json(experiment), experiment_to_json(base)
    changed: dict[str, None] = {}
    for path in setting_paths(base):
        names, value, was = [], mine, before
        for name in path.split("."):
            names.append(name)
            value, was = value[name], was[name]
            if value is None:  # also what the base has several values for
                break
        if value != was:
            path = ".".join(names)
            key = "env" if path == "environment.id" else _short(base, path)
            changed[f"{key}={_as_text(value)}"] = None
    return list(changed)


def shown_settings(experiment: AnyExperiment, paths: Iterable[str]) -> list[str]:
    """Settings and their values as ``--set`` takes them, each by its last name where that is enough."""
    return [
        f"{_short(experiment, path)}={_as_text(value)}" for path, value in setting_values(experiment, paths).items()
    ]


def experiment_to_json(experiment: AnyExperiment) -> dict[str, Any]:
    """The experiment in JSON values."""
    return cast(dict[str, Any], to_json(experiment))


def experiment_from_json(data: Any) -> AnyExperiment:
    """Inverse of :func:`experiment_to_json`.

    Raises:
        SettingError: naming a field that is wrong, missing or unknown.
        ValueError: for a code of observations that is no longer read.
    """
    if isinstance(data, Mapping) and "kind" not in data:
        data = {"kind": data.get("task", "control"), **{key: data[key] for key in data if key != "task"}}  # of before
    if isinstance(data, Mapping):
        require_known_code(data.get("spiking"))
    return cast(AnyExperiment, from_json(AnyExperiment, data))


def resolve_setting(experiment: AnyExperiment, key: str) -> str:
    """The full path of a setting that is named in short.

    Raises:
        UserError: for an unknown or ambiguous key.
    """
    paths = setting_paths(experiment)
    known = [*paths, *removable_paths(experiment)]
    if key == "env" and hasattr(experiment, "environment"):
        return "environment.id"
    if key in known:
        return key
    matches = [path for path in known if path.endswith(f".{key}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"setting {key!r} is ambiguous", f"write one of {', '.join(matches)}")
    short = {path.rsplit(".", 1)[-1]: path for path in paths}
    nearest = difflib.get_close_matches(key, [*paths, *short], n=3, cutoff=0.5)
    remedy = f"did you mean {', '.join(nearest)}?" if nearest else f"valid are {', '.join(paths)}"
    raise UserError(f"unknown setting {key!r}", remedy)


def _coerce(annotation: Any, candidates: Iterable[Any], key: str, shown: str) -> Any:
    refusals: list[SettingError] = []
    for candidate in candidates:
        try:
            return from_json(annotation, candidate)
        except SettingError as error:
            refusals.append(error)
    refusals = refusals[:-1] or refusals  # the last of several readings, a list of one item, is not what was written
    nearest = max(refusals, key=lambda error: len(error.place))
    raise UserError(f"setting {key!r} cannot be {shown}", nearest.without_value)


def _short(experiment: AnyExperiment, path: str) -> str:
    """A setting's last name, where that is enough."""
    name = path.rpartition(".")[2]
    with suppress(UserError):
        if resolve_setting(experiment, name) == path:
            return name
    return path


def _json_text(key: Any, value: Any) -> str:
    """A value that Python has given, as JSON has it."""
    try:
        return json.dumps(value)
    except (RecursionError, TypeError, ValueError) as error:
        remedy = "give numbers, texts, and lists and dictionaries of these"
        raise UserError(f"setting {key!r} cannot be {value!r:.60} ({reason_of(error)})", remedy) from error


def _as_text(value: Any) -> str:
    """A JSON value as the command line reads it: plain where :func:`_readings` cannot take it for another."""
    if isinstance(value, list) and len(value) > 1 and all(type(item) in (int, float) for item in value):
        return ",".join(map(str, value))
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./:+-]*", value, re.ASCII):
        return value if _read(value) == value else json.dumps(value)
    return json.dumps(value)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _readings(text: str) -> Iterator[Any]:
    """What the text may mean: a JSON value or one of Python's words, a comma-separated list, or just text."""
    value = _read(text)
    yield from _exactly(value)
    if "," in text:
        yield [_read(part.strip()) for part in text.split(",") if part.strip()]
    yield text
    yield [value]


def _read(text: str) -> Any:
    with suppress(RecursionError, ValueError):
        return json.loads(text)
    return _PYTHON.get(text, text)


def _exactly(value: Any) -> Iterator[Any]:
    """The value, and the same as a whole number: ``1e5`` is one."""
    yield value
    if isinstance(value, float) and value.is_integer():
        yield int(value)
