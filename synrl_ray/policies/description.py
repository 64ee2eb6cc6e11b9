"""``policy.json``, which may come from a stranger: plain JSON of a bounded size."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded

DESCRIPTION_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
_MOST_BYTES = 1024**2
_OF_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


def read_description(folder: Path) -> dict[str, Any]:
    """What ``policy.json`` says.

    Raises:
        OSError: if it is not there or cannot be read.
        ValueError: if it is no regular file, no JSON object, nested too deeply, or larger than one MiB.
    """
    try:
        description = json.loads(read_bounded(folder / DESCRIPTION_FILE, _MOST_BYTES))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(description, dict):
        raise ValueError("it is no JSON object")
    return description


def format_of(folder: Path) -> str:
    """The format that a folder's description names; empty where there is none: loading it will say what is wrong."""
    try:
        return str(read_description(folder).get("format", ""))
    except (OSError, ValueError):
        return ""


def described(description: dict[str, Any], key: str, settings: TypeAdapter[T]) -> T:
    """The settings under a key of a description, held to their types and bounds.

    Raises:
        KeyError: if there are none.
        ValueError: naming the first one that is wrong, NaN or unknown.
    """
    given = description[key]
    try:
        value = settings.validate_json(json.dumps(given, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (key, *first["loc"])))
        raise ValueError(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from error
    _refuse_unknown(given, value)
    return value


def _refuse_unknown(given: Any, value: Any) -> None:
    """Refuse keys that no field has taken."""
    if not is_dataclass(value):
        return
    names = {field.name for field in fields(value)}
    for name, part in given.items():
        if name not in names:
            raise ValueError(f"unknown setting {name!r}")
        _refuse_unknown(part, getattr(value, name))


@contextmanager
def damage_of(file: Path, remedy: str = "restore it or train again") -> Iterator[None]:
    """Whatever goes wrong inside is that file's damage: one line that names it; not that nothing can be printed."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        UserError,
        ValueError,
    ) as error:
        if isinstance(error, OSError) and error.errno in _OF_OUTPUT:
            raise
        raise UserError(f"{file} is damaged ({reason_of(error)})", remedy) from error
