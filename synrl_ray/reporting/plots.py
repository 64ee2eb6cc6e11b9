"""What all figures of a report share: Plotly's traces in colours and dashes that anybody tells apart.

Colours of text, grid and background are the page's, which is light, dark or on paper.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.curves import PALETTE

INSTALL = "uv pip install -c requirements.txt -e '.[report]'"
FAINT = 0.35
"""Opacity of each seed's line beneath a bold one."""
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star")


@dataclass(frozen=True)
class Plot:
    """One figure: traces and layout as Plotly takes them, under a title, over a caption."""

    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """The figure as Plotly's own checks and serialiser give it, fit to stand in a page."""
        go, io = require_plotly()
        text: str = io.to_json(go.Figure(data=self.data, layout={"template": None, **self.layout}), validate=True)
        return text.replace("<", "\\u003c")  # whatever the serialiser does: no text ends the script that it stands in


def plotly_script() -> str:
    """Plotly for browsers, whole."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def color_of(index: int) -> str:
    """Of an entry."""
    return PALETTE[index % len(PALETTE)]


def dash_of(index: int) -> str:
    """Of an entry's lines: those who see no colours, and prints, tell entries apart by it."""
    return _DASHES[index % len(_DASHES)]


def symbol_of(index: int) -> str:
    """Of an entry's points."""
    return _SYMBOLS[index % len(_SYMBOLS)]


def faded(color: str, opacity: float = 0.2) -> str:
    """A colour through which others are seen."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def literal(text: str) -> str:
    """A name for Plotly, which reads tags and entities in all text."""
    return html.escape(text, quote=False)


def axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    """A layout with two named axes."""
    parts: Mapping[str, Any] = {name: {"title": {"text": literal(text)}} for name, text in (("xaxis", x), ("yaxis", y))}
    return {name: {**parts.get(name, {}), **more.get(name, {})} for name in ("xaxis", "yaxis")} | {
        name: value for name, value in more.items() if name not in parts
    }


def require_plotly() -> tuple[Any, Any]:
    """Plotly's figures and its serialiser.

    Raises:
        UserError: if the package is missing.
    """
    try:
        import plotly.graph_objects
        import plotly.io
    except ImportError as error:
        raise UserError(
            "a report is drawn by Plotly, which is not installed", f"install it with `{INSTALL}`"
        ) from error
    return plotly.graph_objects, plotly.io
