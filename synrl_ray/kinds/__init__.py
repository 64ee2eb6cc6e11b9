"""Kinds of runs: a folder each, whose ``kind.py`` has a :class:`~synrl_ray.running.kind.Kind`; and their table."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synrl_ray.experiment import AnyExperiment
    from synrl_ray.policies.description import Description
    from synrl_ray.running.kind import Kind

KINDS = ("control", "local", "classification", "meta", "evolution")
"""Their folders, and the ``kind`` of their experiments. A kind is imported when it is asked for."""


def kind_named(name: str) -> Kind[Any]:
    """The kind of that name."""
    if name not in KINDS:
        raise ValueError(f"kind {name!r} is not known")
    kind: Kind[Any] = import_module(f"synrl_ray.kinds.{name}.kind").KIND
    return kind


def kind_of(experiment: AnyExperiment) -> Kind[Any]:
    """The kind of an experiment's runs."""
    return kind_named(experiment.kind)


def kind_of_run(folder: Path) -> Kind[Any]:
    """The kind of the run in a folder.

    Raises:
        UserError: for no run's folder, or a damaged ``config.json``.
    """
    from synrl_ray.running.run_folder import RunFolder

    return kind_of(RunFolder.open(folder).spec().experiment)


def kind_of_policy(description: Description) -> Kind[Any]:
    """The kind of run that has made what a folder holds.

    Raises:
        UserError: for a format that is not known.
    """
    return kind_named(description.format.kind)
