"""Where a result is from: code, command, configuration, versions."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from synrl_ray.settings.checked import settings_class

_PACKAGE = Path(__file__).parents[1]
_DEPENDENCIES = ("synrl-ray", "ray", "torch", "snntorch", "gymnasium", "numpy")
_GIT_SECONDS = 20


@settings_class
class Provenance:
    """What one needs to have the figures again; ``None`` for what is not known."""

    commit: str | None = None
    """Of the package's repository; with ``+changes`` where its files differed from it."""
    command: str | None = None
    """That trains it again."""
    configuration: Mapping[str, Any] | None = None
    """The run's ``config.json``; of several seeds without the seed."""
    versions: Mapping[str, str] | None = None


def versions() -> dict[str, str]:
    """Versions of what a result depends on; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in _DEPENDENCIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_commit(package: Path = _PACKAGE) -> str | None:
    """The commit that the package's code is at, ``None`` where it is not a checkout's own.

    A package in a virtual environment inside somebody's repository is not tracked there: that repository's commit says
    nothing about it.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit and commit + ("+changes" if changes else "")


def _git(folder: Path, *words: str) -> str | None:
    """What git says, ``None`` where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
