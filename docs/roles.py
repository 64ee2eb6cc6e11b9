"""For the API's pages: what docstrings write for Sphinx, in Markdown and MathML, which browsers draw by themselves."""

from __future__ import annotations

import re
from typing import Any

import griffe
from latex2mathml.converter import convert

_MATH = re.compile(r"^\.\. math::((?:.*\n?)(?:(?: +.*)?\n)*(?: +.*$)?)", re.MULTILINE)
_INLINE_MATH = re.compile(r":math:`([^`]+)`")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Roles(griffe.Extension):
    """Shows equations, and ``:func:`~package.module.name``` as `name`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of modules, classes, functions and attributes."""
        if obj.docstring is not None:
            text = _MATH.sub(_equation, obj.docstring.value)
            text = _INLINE_MATH.sub(lambda match: convert(match[1]), text)
            text = _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)


def _equation(match: re.Match[str]) -> str:
    return f"\n<p>{convert(' '.join(match[1].split()), display='block')}</p>\n\n"
