"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

PolicyKind = Literal["spiking", "ann", "tabular"]  # as in the settings, which would make help slow
Tracker = Literal["mlflow", "wandb"]  # likewise
Screen = Literal["window", "page", "terminal"]
Json = Annotated[bool, Parameter(name="--json")]


def _integer(kind: Any, tokens: Sequence[Token]) -> int:
    """Whole numbers only, where the parser would round ``0.5``."""
    return int(tokens[0].value)


Integer = Annotated[int, Parameter(converter=_integer)]
Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]
