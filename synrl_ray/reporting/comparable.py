"""Whether entries may stand side by side: only what is judged alike in the same environment is a comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment
from synrl_ray.kinds.acting import environment_of
from synrl_ray.policies.description import read_description
from synrl_ray.reporting.entries import Entry
from synrl_ray.reporting.words import plain

_NOT_OF_THE_JUDGEMENT = {
    *("environment", "preprocessing"),  # are taken from the run's settings
    *("seeding", "statistics", "interval", "regret", "regret_stochastic"),  # explain it
    *("mean_return", "mean_return_stochastic", "untrained_inner_lr"),  # as do these
    *("sampled", "episodes_cut"),  # follow from the policy
    *("training_images", "validation_images"),
}
"""Parts of a protocol that may differ."""


def require_comparable(entries: Sequence[Entry]) -> None:
    """Raise :class:`UserError` with the first difference, if entries differ in environment or protocol."""
    first, *others = entries
    before = judged_by(first)
    for entry in others:
        here = judged_by(entry)
        for name in _compared(before, here):
            if before.get(name) != here.get(name):
                problem = f"{entry.label} is not judged as {first.label}"
                there, now = _shown(before.get(name)), _shown(here.get(name))
                raise UserError(f"{problem} (its {name} is {now}, not {there})", "compare what is judged alike")


def _compared(before: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """All of environments; of protocols what both know: old results know less, and those of runs under way nothing."""
    yield "kind"
    for name in dict.fromkeys([*before, *here]):
        if name.startswith("environment") or (name in before and name in here):
            yield name


def judged_by(entry: Entry) -> dict[str, Any]:
    """Environment and protocol, flat."""
    environment = _environment(entry)
    facts: dict[str, Any] = {"kind": entry.kind.name}
    if environment is not None:
        facts |= {
            "environment": environment.id,
            **{f"environment.{name}": value for name, value in environment.kwargs.items()},
            "preprocessing": None if environment.preprocessing is None else asdict(environment.preprocessing),
        }
    protocol: Mapping[str, Any] = {} if entry.result is None else entry.result.protocol
    return facts | {name: value for name, value in protocol.items() if name not in _NOT_OF_THE_JUDGEMENT}


def _environment(entry: Entry) -> Environment | None:
    if entry.spec is not None:
        return entry.kind.environment(entry.spec.experiment)
    description = read_description(entry.runs[0].folder)
    return environment_of(description) if description.format.acts else None


def _shown(value: Any) -> str:
    return plain(json.dumps(value, default=str))
