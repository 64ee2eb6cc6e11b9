"""``policy.json``, which may come from a stranger: plain JSON of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

DESCRIPTION_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
_MOST_BYTES = 1024**2


def read_description(folder: Path) -> dict[str, Any]:
    """What ``policy.json`` says.

    Raises:
        OSError: if it is not there or cannot be read.
        ValueError: if it is no JSON object, nested too deeply, or larger than one MiB.
    """
    with (folder / DESCRIPTION_FILE).open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
    try:
        description = json.loads(content)
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


def require_room(folder: Path, sizes: Sequence[int]) -> None:
    """Refuse to build layers of these sizes, one behind the other, if the weights beside it cannot be theirs.

    A line of JSON can describe a network that would fill any memory; the file of its weights cannot be short.

    Raises:
        OSError: if there is no file of weights.
        ValueError: if it is too short.
    """
    weights = sum(sizes) - sizes[0] + sum(a * b for a, b in pairwise(sizes))
    needed, found = 4 * weights, (folder / WEIGHTS_FILE).stat().st_size
    if needed > found:
        raise ValueError(f"layers of {', '.join(map(str, sizes))} have {needed:,} bytes of weights, not {found:,}")
