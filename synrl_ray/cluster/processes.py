"""Look at processes, and end exactly one tree of them."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ORPHAN_SECONDS = 3.0


def command_line(pid: int) -> str:
    """Return the command line of a process, the empty string if it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()


def tree(pid: int) -> list[tuple[int, float]]:
    """Return pid and start time (seconds since the epoch) of a process and all below it."""
    psutil = _psutil()
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    found = []
    for each in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append((each.pid, each.create_time()))
    return found


def naming(text: str) -> list[int]:
    """Return the pids of processes whose command line contains ``text``."""
    found = _psutil().process_iter(["cmdline"])
    return [each.pid for each in found if any(text in part for part in each.info["cmdline"] or ())]


def alive(members: Iterable[tuple[int, float]]) -> list[int]:
    """Return the pids of those members that still run; a later process with a reused pid does not count."""
    return [process.pid for process in _living(members)]


def end(root: int | None, members: Iterable[tuple[int, float]], *, timeout_s: float) -> None:
    """End the tree under ``root`` and the ``members``: the root first, then politely and by force what it left.

    Args:
        root: process that ends its own children when it is told to; ``None`` if it is gone already.
        members: pid and start time of processes that were once seen in the tree.
        timeout_s: how long the root may take to end its children and itself.
    """
    psutil = _psutil()
    everyone = {**dict(members), **(dict(tree(root)) if root is not None else {})}
    if root is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            process.terminate()
            psutil.wait_procs([process], timeout=timeout_s)
    for action in ("terminate", "kill"):
        left = _living(everyone.items())
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, action)()
        psutil.wait_procs(left, timeout=ORPHAN_SECONDS)


def free_memory() -> int:
    """Return the bytes of memory that programs can still have."""
    return int(_psutil().virtual_memory().available)


def _living(members: Iterable[tuple[int, float]]) -> list[Any]:
    psutil = _psutil()
    found = []
    for pid, started in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _psutil() -> Any:
    """Return the psutil that Ray brings along."""
    import ray  # noqa: F401  (puts it on the path)

    return importlib.import_module("psutil")
