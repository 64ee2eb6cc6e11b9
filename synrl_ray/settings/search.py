"""Ranges of settings that a hyperparameter search draws from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class LogUniform:
    """A number between ``low`` and ``high``, uniform in its logarithm."""

    low: float
    high: float
    kind: Literal["log_uniform"] = "log_uniform"


@dataclass(frozen=True)
class Uniform:
    """A number between ``low`` and ``high``."""

    low: float
    high: float
    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class Choice:
    """One of ``options``."""

    options: tuple[Any, ...]
    kind: Literal["choice"] = "choice"

    def __post_init__(self) -> None:
        """Sizes come back from JSON as lists."""
        options = tuple(tuple(option) if isinstance(option, list) else option for option in self.options)
        object.__setattr__(self, "options", options)


SearchSpace = Mapping[str, LogUniform | Uniform | Choice]
"""Setting path → range."""
