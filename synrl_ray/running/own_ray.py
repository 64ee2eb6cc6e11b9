"""Start a Ray for this process alone, and say why where it does not start."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synrl_ray.cluster.private_folder import SMALLEST_FREE
from synrl_ray.cluster.private_ray import private_ray
from synrl_ray.cluster.processes import free_memory
from synrl_ray.errors import UserError, reason_of

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
_ATTEMPTS = 2
_SHARED_MEMORY = Path("/dev/shm")
_SMALLEST_MEMORY = 512 * 1024**2
_BUSY = 4.0  # processes that wait for each core
_SPACE = "free some space, or name a folder with more in RAY_TMPDIR"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EMFILE: "raise the limit of open files: ulimit -n 65536",
    errno.ENFILE: "end programs that hold many files open",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or end some",
    errno.ENOMEM: "free some memory",
}
_ANOTHER_FOLDER = "make it writable, or name another folder in RAY_TMPDIR"
# Ray's log lines: [time severity process thread] file:line: text. E is an error, C is fatal.
_LOGGED = re.compile(r"^\[[^\]]* [EC] [^\]]*\] (?:\([^)]*\) )?\S+:\d+:\s*(.+)$", re.MULTILINE)


@contextmanager
def own_ray(*, num_cpus: int, object_store_memory: int = 256 * 1024**2) -> Iterator[None]:
    """Run a Ray for the block that no other machine reaches, and no other user of this one.

    Raises:
        UserError: if it does not start.
    """
    with private_ray() as folder:
        import ray

        try:
            _start(folder, num_cpus=num_cpus, object_store_memory=object_store_memory)
            yield
        finally:
            ray.shutdown()


def _start(folder: Path, **options: int) -> None:
    """Start Ray; it gives up on its own helpers after seconds, so a busy machine gets a second attempt."""
    import ray

    for attempt in range(_ATTEMPTS):
        try:
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
                include_dashboard=False,
                **QUIET,
                **options,
            )
            return
        except Exception as error:  # Ray raises many types here
            ray.shutdown()
            found = _refused(error) or _lacking(folder)
            if found is not None or attempt + 1 == _ATTEMPTS:
                raise _not_started(error, *(found or _unknown(folder))) from error


def _not_started(error: Exception, cause: str, remedy: str) -> UserError:
    return UserError(f"Ray did not start: {cause or reason_of(error)}", remedy)


def _refused(error: BaseException | None) -> tuple[str, str] | None:
    """Return what the system refused, and the remedy, if an error or one that led to it tells."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            subject = f"{error.filename}: " if error.filename else ""
            denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
            remedy = _ANOTHER_FOLDER if denied else _REMEDIES.get(error.errno)
            if remedy is not None:
                return f"{subject}{os.strerror(error.errno)}", remedy
        error = error.__cause__ or error.__context__
    return None


def _lacking(folder: Path) -> tuple[str, str] | None:
    """Return what there is too little of on this machine, and the remedy, if anything."""
    for place, remedy in ((folder.parent, _SPACE), (_SHARED_MEMORY, "delete what fills it")):
        if place.is_dir() and (free := shutil.disk_usage(place).free) < SMALLEST_FREE:
            return f"only {free / 1e6:.0f} MB are free in {place}", remedy
    if (free := free_memory()) < _SMALLEST_MEMORY:
        return f"only {free / 1e6:.0f} MB of memory are free", "end programs that use much of it"
    return None


def _unknown(folder: Path) -> tuple[str, str]:
    """Return what Ray logged last, and what can be looked at: what it kept, or how busy the machine is."""
    logs = folder / "session_latest" / "logs"
    said = [line for path in sorted(logs.glob("*.*")) for line in _LOGGED.findall(path.read_text(errors="replace"))]
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    remedy = f"{load:.0f} processes share {cores} cores: end some, and try again" if load > _BUSY * cores else ""
    if not remedy and logs.is_dir():
        with suppress(OSError):
            kept = shutil.copytree(logs, Path(tempfile.mkdtemp(prefix="ray-logs-", dir=folder.parents[1])) / "logs")
            remedy = f"its logs are in {kept}"
    return said[-1] if said else "", remedy or "try again"
