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
from contextlib import suppress
from pathlib import Path
from typing import cast

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.experiment import AnyExperiment
from synrl_ray.results import read_result
from synrl_ray.settings.base import BaseExperiment
from synrl_ray.settings.checked import SettingError

_PACKAGE = Path(__file__).parent
_FEW = 8
"""Experiments that are named one by one where none is near."""


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
    """Every experiment by id, sorted, without the files that do not load."""
    return found_experiments()[0]


def found_experiments() -> tuple[dict[str, AnyExperiment], list[UserError]]:
    """Every experiment by id, sorted; and what is wrong with each file that names ``synrl_ray`` and does not load."""
    found = _found()
    broken = dict.fromkeys(error for error in found.values() if isinstance(error, UserError))
    return {name: e for name, e in found.items() if not isinstance(e, UserError)}, list(broken)


def get_experiment(name: str) -> AnyExperiment:
    """The experiment with that id.

    Raises:
        UserError: if its file does not load; if there is none, with the nearest ids.
    """
    found = _found()
    if name in found:
        experiment = found[name]
        if isinstance(experiment, UserError):
            raise experiment
        return experiment
    if ":" in name or re.search(r"-v\d+$", name):
        raise UserError(f"unknown experiment {name!r}", f"an environment is named by --env {name}")
    nearest = difflib.get_close_matches(name, found, n=3, cutoff=0.4) or (list(found) if len(found) <= _FEW else [])
    hint = f"did you mean {', '.join(nearest)}? " if nearest else ""
    remedy = f"{hint}`{command('list')}` shows all"
    raise UserError(f"unknown experiment {name!r}", remedy)


def committed_scores(experiment: AnyExperiment) -> dict[str, tuple[str, float]]:
    """What the results beside the experiment's file say of it: by policy, the figure that counts and its value."""
    found: dict[str, tuple[str, float]] = {}
    folder = next((path for path in experiment_folders() if _holds(path, experiment)), None)
    if folder is None:
        return found
    for policy in experiment.policies:
        with suppress(UserError):  # whoever lists experiments has not asked for a damaged result
            result = read_result(folder / "results" / experiment.id / policy)
            if result is not None and (value := result.figures[result.score]) is not None:
                found[policy] = (result.score, value)
    return found


def _holds(folder: Path, experiment: AnyExperiment) -> bool:
    """Whether a folder has the experiment's file, by the text that names its id."""
    named = re.compile(rf"""\bid=["']{re.escape(experiment.id)}["']""")
    return any(named.search(path.read_text(errors="replace")) for path in folder.glob("*.py") if path.is_file())


def _found() -> dict[str, AnyExperiment | UserError]:
    """By id, what the first file with that id holds, or why it does not load.

    A file that does not load keeps the id that it is named after, and those that it writes: an experiment of the same
    id from a later folder is not what the user is looking at.
    """
    found: dict[str, AnyExperiment | UserError] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("*.py")):
            text = path.read_text(errors="replace") if path.is_file() else ""
            if "synrl_ray" not in text or not re.search(r"^experiment\b", text, flags=re.MULTILINE):
                continue  # is never run
            try:
                experiment = _load(path)
            except UserError as error:
                for name in (path.stem.replace("_", "-"), *re.findall(r"""\bid=["']([^"']+)["']""", text)):
                    found.setdefault(name, error)
            else:
                if experiment is not None:
                    found.setdefault(experiment.id, experiment)
    return dict(sorted(found.items()))


def _load(path: Path) -> AnyExperiment | None:
    """Run the file and return its ``experiment``."""
    spec = importlib.util.spec_from_file_location(f"synrl_experiments.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except SettingError as error:
        raise UserError(f"{path}: {error}", "mend or move the file") from error
    except (Exception, SystemExit) as error:
        problem = f"{path} does not load ({reason_of(error, named=True)})"
        raise UserError(problem, "mend or move the file") from error
    experiment = getattr(module, "experiment", None)
    return cast(AnyExperiment, experiment) if isinstance(experiment, BaseExperiment) else None
