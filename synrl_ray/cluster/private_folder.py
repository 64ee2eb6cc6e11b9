"""Folders for what Ray keeps while it runs (sockets, logs, packages of jobs, tokens), closed to other users.

Ray makes its own folder readable and writable by all, so it lies inside one of mode 0700. Who uses a folder holds a
lock on a file in it; the kernel drops the lock however its holder ends, so that the next start can tell what was left
behind, and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.cluster import processes
from synrl_ray.errors import UserError

SMALLEST_FREE = 64 * 1024**2
"""Bytes: with less, Ray fails later and without saying why."""
_PREFIX, _IN_USE, _RAY = "synrl-", "in-use", "ray"
# Below the folder, Ray adds its session's name and that of a socket.
_LONGEST_SESSION = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_SOCKET_LIMIT = 103 if sys.platform == "darwin" else 107
_LONGEST_ROOT = _SOCKET_LIMIT - len(f"/{_PREFIX}12345678") - len(_LONGEST_SESSION)


@dataclass(frozen=True)
class PrivateFolder:
    """A folder of mode 0700, in use for as long as a process holds ``lock``.

    Args:
        path: the folder.
        lock: file descriptor; a child that inherits it keeps the folder in use too.
    """

    path: Path
    lock: int

    @property
    def ray(self) -> Path:
        """Return the folder that Ray is told to use."""
        return self.path / _RAY

    def release(self) -> None:
        """Give the lock of this process up; the folder stays for whoever else holds it."""
        os.close(self.lock)

    def remove(self) -> None:
        """Delete the folder and give it up."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()


def make_private_folder() -> PrivateFolder:
    """Make a folder for one Ray, after removing those that nobody uses any more.

    It lies in what ``RAY_TMPDIR`` names, else in ``TMPDIR``, else in ``/tmp``.

    Raises:
        UserError: if no folder can be made there, or Ray could not work in it.
    """
    root = _root()
    try:
        remove_unused(root)
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))  # mode 0700 from the beginning
        try:
            draft = path / f"{_IN_USE}.new"  # a start at the same moment must not see it unlocked
            lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(draft, path / _IN_USE)
        except OSError:  # a full disk, a file system without locks
            shutil.rmtree(path, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(f"Ray cannot keep its files in {root}: {error.strerror}", _ELSEWHERE) from error
    return PrivateFolder(path, lock)


def remove_unused(root: Path) -> None:
    """Delete this user's private folders in ``root`` that no living process uses."""
    for path in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _unlocked(path) as unlocked:
            if unlocked and not processes.naming(f"{path}/"):
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _unlocked(path: Path) -> Iterator[bool]:
    """Yield whether ``path`` is a private folder of this user whose lock is free; it is held within the block."""
    state = path.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
        yield False
        return
    lock = os.open(path / _IN_USE, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    finally:
        os.close(lock)


_ELSEWHERE = "name a folder of this machine that you may write with RAY_TMPDIR"


def _root() -> Path:
    """Return the folder for private folders: the first that fits, where the user has not named one."""
    if named := os.environ.get("RAY_TMPDIR"):
        if (reason := _unfit(Path(named))) is not None:
            raise UserError(f"Ray cannot keep its files in RAY_TMPDIR={named}: {reason}", _ELSEWHERE)
        return Path(named).absolute()
    candidates = [Path(os.environ.get("TMPDIR") or "/tmp").absolute(), Path("/tmp")]
    reasons = [_unfit(path) for path in candidates]
    for path, reason in zip(candidates, reasons, strict=True):
        if reason is None:
            return path
    raise UserError(f"Ray cannot keep its files in {candidates[0]}: {reasons[0]}", _ELSEWHERE)


def _unfit(path: Path) -> str | None:
    """Return why Ray could not work in ``path``, if so."""
    if not path.is_dir():
        return "it is no folder" if path.exists() else "it does not exist"
    if not os.access(path, os.W_OK | os.X_OK):
        return "you may not write there"
    if len(os.fsencode(path.absolute())) > _LONGEST_ROOT:
        return f"its path is longer than {_LONGEST_ROOT} bytes, too long for Ray's sockets"
    if (free := shutil.disk_usage(path).free) < SMALLEST_FREE:
        return f"only {free / 1e6:.0f} MB are free there"
    return None
