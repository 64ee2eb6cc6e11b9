"""Find the experiments: every file in an ``experiments`` folder that exports ``experiment``.

Folders, first match of an id wins: those in ``SYNRL_EXPERIMENTS`` (separated like ``PATH``), ``./experiments``, and the
ones that come with the project (beside the package in a checkout or a shipped working directory, inside it
when installed).
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import sys
from pathlib import Path

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.experiment import AnyExperiment

_PACKAGE = Path(__file__).parent


def experiment_folders() -> list[Path]:
    """The folders that are searched, in order, without repetition."""
    named = [Path(entry) for entry in os.environ.get("SYNRL_EXPERIMENTS", "").split(os.pathsep) if entry]
    candidates = [*named, Path.cwd() / "experiments", _PACKAGE.parent / "experiments", _PACKAGE / "_experiments"]
    unique: dict[Path, Path] = {}
    for folder in candidates:
        if folder.is_dir():
            unique.setdefault(folder.resolve(), folder)
    return list(unique.values())


def all_experiments() -> dict[str, AnyExperiment]:
    """Every experiment by id, sorted.

    Raises:
        UserError: if a file that names ``synrl_ray`` cannot be loaded.
    """
    found: dict[str, AnyExperiment] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("*.py")):
            experiment = _load(path)
            if experiment is not None:
                found.setdefault(experiment.id, experiment)
    return dict(sorted(found.items()))


def get_experiment(name: str) -> AnyExperiment:
    """The experiment with that id.

    Raises:
        UserError: if there is none, with the nearest ids.
    """
    experiments = all_experiments()
    if name in experiments:
        return experiments[name]
    nearest = difflib.get_close_matches(name, experiments, n=3, cutoff=0.4) or list(experiments)
    remedy = f"did you mean {', '.join(nearest)}? `{command('list')}` shows all"
    raise UserError(f"unknown experiment {name!r}", remedy)


def _load(path: Path) -> AnyExperiment | None:
    """Run the file and return its ``experiment``; files that do not import this package are never run."""
    text = path.read_text(errors="replace") if path.is_file() else ""
    if "synrl_ray" not in text or not re.search(r"^experiment\b", text, flags=re.MULTILINE):
        return None
    spec = importlib.util.spec_from_file_location(f"synrl_experiments.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        problem = f"{path} does not load ({reason_of(error, named=True)})"
        raise UserError(problem, "mend or move the file") from error
    experiment = getattr(module, "experiment", None)
    return experiment if isinstance(experiment, AnyExperiment) else None
