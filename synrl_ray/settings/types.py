"""Types of settings: each name once, with the bounds that its values are held to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, MaxLen, MinLen
from pydantic import AfterValidator, Strict, StringConstraints

Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
"""A number of things, of which there may be none."""
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
Rate = Annotated[float, Interval(gt=0, le=1)]
"""A share that is taken over at each step."""
Signed = Annotated[float, Interval(ge=-1, le=1)]


def _as_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """As a file of settings has it: a run that is resumed, or trained by another process, gets the very same."""
    try:
        _require_names(given)
        found: dict[str, Any] = json.loads(json.dumps(dict(given), allow_nan=False))
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"holds what no file of settings can ({error})") from error
    return found


def _require_names(node: Any) -> None:
    """Refuse mappings from anything but texts, which would come back as others."""
    if isinstance(node, Mapping) and not all(isinstance(name, str) for name in node):
        raise TypeError(f"its names are texts, and {next(n for n in node if not isinstance(n, str))!r} is none")
    for each in node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ():
        _require_names(each)


JsonMapping = Annotated[Mapping[str, Any], AfterValidator(_as_json)]
"""Names and JSON values: finite numbers, texts, truth values, and lists and mappings of these."""
AsTuple = Strict(False)
"""Marks tuples that may be given as lists."""
Size = Annotated[int, Interval(ge=1, le=2**20)]
Sizes = Annotated[tuple[Size, ...], AsTuple, MinLen(1), MaxLen(64)]
Steps = Annotated[int, Interval(ge=1, le=1024)]
"""Simulation steps: time and memory grow with them, and no weight of a stranger's policy shows them."""
Frames = Annotated[int, Interval(ge=1, le=1_000)]
Pixels = Annotated[int, Interval(ge=16, le=512)]
NumEpisodes = Annotated[int, Interval(ge=1, le=100_000)]
NumTasks = Annotated[int, Interval(ge=2, le=100_000)]
InnerSteps = Annotated[int, Interval(ge=1, le=1_000)]
Samples = Annotated[int, Interval(ge=1, le=10_000)]
Cells = Annotated[int, Interval(ge=1, le=128)]
ClassPath = Annotated[str, MaxLen(200), StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""``module:Class``."""
Precision = Literal["float32", "bfloat16"]
"""Of the products of a network's training passes."""
