"""JSON that a reader can follow, and whose changes a line-by-line comparison shows."""

from __future__ import annotations

import json
from typing import Any


def laid_out(value: Any, indent: str = "") -> str:
    """JSON with objects and lists of objects on lines of their own, and plain lists on one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(name)}: {laid_out(part, inner)}" for name, part in value.items()]
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        lines = [inner + laid_out(part, inner) for part in value]
    else:
        return json.dumps(value, allow_nan=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(lines) + f"\n{indent}{closing}"
