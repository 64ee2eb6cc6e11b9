"""Why a local Ray did not start: each cause is named, none is guessed; Ray itself is replaced here."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from synrl_ray.cluster import private_ray
from synrl_ray.errors import UserError
from synrl_ray.running import own_ray as module
from synrl_ray.running.own_ray import own_ray

MEGABYTE = 10**6
Usage = namedtuple("Usage", "total used free")
TIMED_OUT = "The current node timed out during startup."
RAYLET = (
    "[2026-11-29 07:47:06,806 I 10 10] (raylet) main.cc:1: Starting\n"
    "[2026-11-29 07:47:06,807 E 10 10] (raylet) node_manager.cc:12: cannot map 3 bytes\n"
    "[2026-11-29 07:47:06,808 I 10 10] (raylet) main.cc:2: Stopping\n"
)


class Machine:
    """What Ray does, and what the machine has."""

    def __init__(self) -> None:
        self.error: Exception = RuntimeError(TIMED_OUT)
        self.starts = 0
        self.logs = ""
        self.free = {"/dev/shm": 10**12}
        self.memory = 10**12
        self.load = 0.0

    def init(self, *, _temp_dir: str, **_: object) -> None:
        self.starts += 1
        logs = Path(_temp_dir, "session_latest", "logs")
        logs.mkdir(parents=True, exist_ok=True)
        (logs / "raylet.out").write_text(self.logs)
        raise self.error

    def disk_usage(self, place: Path) -> Usage:
        return Usage(10**12, 0, self.free.get(str(place), 10**12))


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        monkeypatch.setattr(private_ray, "_tell_ray", lambda: None)  # other tests' Ray in this process keeps its token
        yield Path(short)


@pytest.fixture
def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=made.init, shutdown=lambda: None))
    monkeypatch.setattr(module, "free_memory", lambda: made.memory)
    monkeypatch.setattr(module.shutil, "disk_usage", made.disk_usage)
    monkeypatch.setattr(module.os, "getloadavg", lambda: (made.load, 0.0, 0.0))
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    return made


def failure() -> UserError:
    with pytest.raises(UserError) as caught, own_ray(num_cpus=1):
        pass
    assert "\n" not in str(caught.value)
    return caught.value


def os_error(number: int, name: str | None = None) -> Callable[[], Exception]:
    return lambda: OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("number", "name", "message", "remedy"),
    [
        (errno.ENOSPC, "/tmp/a", "/tmp/a: No space left on device", "free some space, or name a folder with more in"),
        (errno.EDQUOT, "/tmp/a", "/tmp/a: Disk quota exceeded", "free some space"),
        (errno.EACCES, "/tmp/a", "/tmp/a: Permission denied", "make it writable, or name another folder in RAY_TMPDIR"),
        (errno.EROFS, "/tmp/a", "/tmp/a: Read-only file system", "make it writable"),
        (errno.EMFILE, None, "Too many open files", "raise the limit of open files: ulimit -n 65536"),
        (errno.EAGAIN, None, "Resource temporarily unavailable", r"raise the limit of processes \(ulimit -u\)"),
        (errno.ENOMEM, None, "Cannot allocate memory", "free some memory"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_system_refused(
    machine: Machine, number: int, name: str | None, message: str, remedy: str, wrapped: bool
) -> None:
    machine.error = os_error(number, name)()
    if wrapped:
        error = RuntimeError("the node failed")
        error.__cause__ = machine.error
        machine.error = error
    told = failure()
    assert told.message == f"Ray did not start: {message}"
    assert told.remedy.startswith(remedy.replace("\\", ""))
    assert machine.starts == 1, "another attempt would end the same way"


def test_a_full_disk(machine: Machine, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda place: Usage(10**12, 0, MEGABYTE * (3 if root in place.parents else 10**6))
    )
    monkeypatch.setattr(module, "private_ray", lambda: _folder(root))
    told = failure()
    assert told.message == f"Ray did not start: only 3 MB are free in {root / 'synrl-x'}"
    assert "RAY_TMPDIR" in told.remedy


class _folder:
    """The private folder on a disk that fills only after it was made."""

    def __init__(self, root: Path) -> None:
        self.path = root / "synrl-x" / "ray"

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        pass


def test_full_shared_memory(machine: Machine) -> None:
    machine.free["/dev/shm"] = 5 * MEGABYTE
    told = failure()
    assert told.message == "Ray did not start: only 5 MB are free in /dev/shm"
    assert told.remedy == "delete what fills it"


def test_too_little_memory(machine: Machine) -> None:
    machine.memory = 90 * MEGABYTE
    told = failure()
    assert told.message == "Ray did not start: only 90 MB of memory are free"


def test_a_busy_machine_is_named_only_where_it_is_busy(machine: Machine) -> None:
    machine.load = 40.0
    told = failure()
    assert told.message == f"Ray did not start: {TIMED_OUT}"
    assert told.remedy == "40 processes share 2 cores: end some, and try again"
    assert machine.starts == 2
    machine.load = 1.0
    assert "processes" not in failure().remedy


def test_an_unknown_cause_is_what_ray_logged_and_the_logs_are_kept(machine: Machine, root: Path) -> None:
    machine.logs = RAYLET
    told = failure()
    assert told.message == "Ray did not start: cannot map 3 bytes"
    (kept,) = root.iterdir()
    assert told.remedy == f"its logs are in {kept / 'logs'}"
    assert (kept / "logs" / "raylet.out").read_text() == RAYLET
    assert kept.stat().st_mode & 0o777 == 0o700


def test_an_error_of_our_own_is_no_failure_to_start(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=lambda **_: None, shutdown=lambda: None))
    with pytest.raises(OSError, match="ours"), own_ray(num_cpus=1):
        raise OSError(errno.ENOSPC, "ours")
    assert list(root.iterdir()) == []
