"""The kinds of policies that experiments have."""

from __future__ import annotations

from typing import Literal

PolicyKind = Literal["spiking", "ann", "tabular"]
TWINS: tuple[PolicyKind, ...] = ("spiking", "ann")
"""Of an experiment with a spiking network and its non-spiking twin."""
