"""What a job ships: the project's directory without what does not belong there, measured before anything is sent."""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.errors import UserError

DEFAULT_SIZE_LIMIT = 3_000_000
"""Bytes: the project's own code takes a third of it. What is larger holds data or results that a job does not need."""

# Left out besides what .gitignore and .rayignore name. The project's own .rayignore says the same for `ray job submit`.
EXCLUDES = (
    "/.git",
    "/.venv",
    "/.ci",
    "/.github",
    "/runs",
    "/experiments/results",
    "/tests",
    "/docs",
    "/benchmarks",
    "/uv.lock",
    "__pycache__",
    "*.pyc",
)
# A zip's bookkeeping: per entry a local and a central header, each with the name, and one record at the end.
_ENTRY_BYTES, _END_BYTES = 30 + 46, 22
_PROJECT_MARKS = ("pyproject.toml", "synrl_ray", "experiments")


@dataclass(frozen=True)
class Package:
    """The files that a job ships.

    Args:
        files: size in bytes by path relative to the working directory; an empty directory ends in ``/``.
        size: bytes of the archive that is sent (it is stored, not compressed).
    """

    files: dict[str, int]
    size: int

    def largest(self, count: int = 3) -> list[tuple[str, int]]:
        """Return the largest top-level entries, each with the bytes below it."""
        totals: Counter[str] = Counter()
        for path, size in self.files.items():
            top, _, rest = path.partition("/")
            totals[f"{top}/" if rest else top] += size
        return totals.most_common(count)


def measure_package(working_dir: Path, *, size_limit: int = DEFAULT_SIZE_LIMIT) -> Package:
    """List what a job from ``working_dir`` would ship, by Ray's own rules, and hold it to a limit.

    Ray leaves out what ``.gitignore`` and ``.rayignore`` files name (in every directory, for what lies below),
    its own defaults (``.git,.venv,venv,__pycache__``) and the job's ``excludes``.

    Args:
        working_dir: the project's directory.
        size_limit: bytes that the archive may have.

    Raises:
        UserError: if it is no project, or over the limit; the message names the largest entries.
    """
    from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE, get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

    root = working_dir.absolute()
    if not any((root / mark).exists() for mark in _PROJECT_MARKS):
        raise UserError(
            f"{root} is no project directory (it has none of {', '.join(_PROJECT_MARKS)})",
            "change into your checkout, or name it as the working directory",
        )
    files: dict[str, int] = {}

    def note(path: Path) -> None:
        name = str(path.relative_to(root))
        if path.is_file():
            files[name] = path.stat().st_size
        elif path.is_dir() and next(path.iterdir(), None) is None:
            files[f"{name}/"] = 0

    excludes = [_get_excludes(root, [*get_runtime_env_default_excludes(), *EXCLUDES])]
    include_gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    _dir_travel(root, excludes, note, include_gitignore=include_gitignore, logger=logging.getLogger(__name__))
    size = _END_BYTES + sum(_ENTRY_BYTES + 2 * len(os.fsencode(name)) + size for name, size in files.items())
    package = Package(files, size)
    if size > size_limit:
        entries = ", ".join(f"{name} {megabytes(size)}" for name, size in package.largest())
        raise UserError(
            f"{root} would ship {megabytes(size)}, over the limit of {megabytes(size_limit)}; largest: {entries}",
            "name what the job does not need in .rayignore, or raise the limit",
        )
    return package


def megabytes(size: int) -> str:
    """Format bytes for a message."""
    return f"{size / 1e6:.2f} MB"
