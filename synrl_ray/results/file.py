"""``result.json``: the one place that writes results, and the one that reads them."""

from __future__ import annotations

import json
from pathlib import Path

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.results.schema import SCHEMA, Result
from synrl_ray.results.version_1 import from_version_1
from synrl_ray.settings.checked import from_json

RESULT_FILE = "result.json"
_MOST_BYTES = 2**26


def write_result(folder: Path, result: Result) -> None:
    """Write ``result.json`` into a folder, whole or not at all."""
    write_atomically(folder / RESULT_FILE, result.as_json())


def read_result(folder: Path) -> Result | None:
    """What a folder's ``result.json`` says, of this version or the one before; ``None`` where there is none.

    Raises:
        UserError: if it is damaged, or of a version that is not known.
    """
    path = folder / RESULT_FILE
    try:
        data = json.loads(read_bounded(path, _MOST_BYTES))
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
        version = data.get("schema", 1)
        if version not in (1, SCHEMA):
            raise ValueError(f"schema {version!r} is not known")
        return from_json(Result, from_version_1(data) if version == 1 else data)
    except FileNotFoundError:
        return None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        UserError,
        ValueError,
    ) as error:
        raise UserError(f"{path} is damaged ({reason_of(error)})", "restore it or start a new run") from error
