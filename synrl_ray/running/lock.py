"""A folder held by one process at a time, over all machines that share its file system."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synrl_ray.errors import UserError, reason_of

LOCK_FILE = ".lock"
"""A file of its own, which nothing replaces: a lock ends with the file that it is on."""


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder for the block.

    Args:
        folder: which is there.
        what: the folder is, for a message: ``"run folder"``.

    Raises:
        UserError: if another process holds it, it cannot be written, or its file system has no locks.
    """
    handle = _held(folder / LOCK_FILE, f"{what} {folder}")
    try:
        yield
    finally:
        with suppress(OSError):  # what cannot be removed is no lock either, once it is closed
            os.unlink(folder / LOCK_FILE)  # while it is held: see _held
        os.close(handle)


def _held(path: Path, name: str) -> int:
    """A handle of the lock file with the lock on it; anew where its holder has removed the file in between."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UserError(f"{name} cannot be written ({reason_of(error)})", "mend that first") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.lexists(path) and os.path.samestat(os.fstat(handle), os.lstat(path)):
                return handle
            os.close(handle)
        except BlockingIOError as error:
            os.close(handle)
            raise UserError(f"{name} is in use", "wait for the process that works in it to end") from error
        except OSError as error:
            os.close(handle)
            problem = f"the file system of {name} cannot lock files ({reason_of(error)})"
            raise UserError(problem, "two trainings in one folder would spoil it: choose another --run-dir") from error


def require_no_links(folder: Path, what: str) -> None:
    """Refuse to work in a folder with a link that leads out of it: what is written there would land elsewhere.

    Raises:
        UserError: naming the link.
    """
    inside = Path(os.path.realpath(folder))
    for root, folders, files in os.walk(folder):
        for path in (Path(root, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                problem = f"{what} {folder} holds a link to elsewhere, {path.relative_to(folder)}"
                raise UserError(problem, "put a real file in its place")
