"""What a job ships: the project's directory without what does not belong there, measured before anything is sent."""

from __future__ import annotations

import logging
import os
import re
import string
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from synrl_ray.cluster.secret_files import gitignore_patterns, reason_to_leave_out
from synrl_ray.errors import UserError

DEFAULT_SIZE_LIMIT = 3_000_000
"""Bytes: the project's own code takes a third of it. What is larger holds data or results that a job does not need."""

# Left out besides what .gitignore and .rayignore name. The project's own .rayignore says the same for `ray job submit`.
NOT_NEEDED = (
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
EXCLUDES = (*NOT_NEEDED, *gitignore_patterns())
# A zip's bookkeeping: per entry a local and a central header, each with the name, and one record at the end.
_ENTRY_BYTES, _END_BYTES = 30 + 46, 22
_NAMED = 3  # of the paths that are left out for one reason
_PROJECT_MARKS = ("pyproject.toml", "synrl_ray", "experiments")


@dataclass(frozen=True)
class Package:
    """The files that a job ships.

    Args:
        files: size in bytes by path relative to the working directory; an empty directory ends in ``/``.
        size: bytes of the archive that is sent (it is stored, not compressed).
        left_out: why a path is not sent, by path: those that may hold secrets, and those that lead out of the project.
    """

    files: dict[str, int]
    size: int
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def excludes(self) -> list[str]:
        """Return what Ray is told to leave out."""
        return [*EXCLUDES, *(f"/{_literal(path)}" for path in self.left_out)]

    @property
    def notice(self) -> str:
        """Return one line about what is left out that the user might miss; the empty string if there is nothing."""
        groups = []
        for reason in dict.fromkeys(self.left_out.values()):
            paths = [repr(path)[1:-1] for path, its_reason in self.left_out.items() if its_reason == reason]
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            groups.append(f"{', '.join(paths[:_NAMED])}{more} ({reason})")
        return f"not sent: {'; '.join(groups)}" if groups else ""

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
        UserError: if it is no project, holds what cannot be read, or is over the limit; the message names the largest
            entries.
    """
    from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE, get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

    root = working_dir.resolve()
    if not any((root / mark).exists() for mark in _PROJECT_MARKS):
        raise UserError(
            f"{root} is no project directory (it has none of {', '.join(_PROJECT_MARKS)})",
            "change into your checkout, or name it as the working directory",
        )
    files: dict[str, int] = {}
    left_out: dict[str, str] = {}

    def must_stay(path: Path) -> bool:
        if path != root and (reason := reason_to_leave_out(path, root)) is not None:
            left_out[str(path.relative_to(root))] = reason
            return True
        return False

    def note(path: Path) -> None:
        name = str(path.relative_to(root))
        if path.is_file():
            with path.open("rb") as file:  # Ray would blame the job server for one that cannot be read
                files[name] = os.fstat(file.fileno()).st_size
        elif path.is_dir() and next(path.iterdir(), None) is None:
            files[f"{name}/"] = 0

    excludes = [_get_excludes(root, [*get_runtime_env_default_excludes(), *NOT_NEEDED]), must_stay]
    include_gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    silent = logging.Logger("synrl_ray.package", level=logging.CRITICAL)
    try:
        _dir_travel(root, excludes, note, include_gitignore=include_gitignore, logger=silent)
    except OSError as error:
        problem = f"{error.filename} cannot be read ({error.strerror})"
        raise UserError(problem, "make it readable, or name it in .rayignore") from error
    size = _END_BYTES + sum(_ENTRY_BYTES + 2 * len(os.fsencode(name)) + size for name, size in files.items())
    package = Package(files, size, dict(sorted(left_out.items())))
    if size > size_limit:
        entries = ", ".join(f"{name} {megabytes(size)}" for name, size in package.largest())
        raise UserError(
            f"{root} would ship {megabytes(size)}, over the limit of {megabytes(size_limit)}; largest: {entries}",
            "name what the job does not need, such as reports and videos, in a file .rayignore",
        )
    return package


def _literal(path: str) -> str:
    """Return the pattern of Ray's excludes that means this path and no other."""
    # In a class of its own: git drops spaces at the end, escaped or not.
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path).translate(
        {ord(space): f"[{space}]" for space in string.whitespace}
    )
    return re.sub("[\ud800-\udfff]", "?", escaped)  # bytes that are no text cannot be written in a pattern


def megabytes(size: int) -> str:
    """Format bytes for a message."""
    return f"{size / 1e6:.2f} MB"
