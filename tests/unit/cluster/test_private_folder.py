"""Ray's files lie in a folder of one user, are removed when nobody uses them, and only then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from synrl_ray.cluster import private_folder
from synrl_ray.cluster.private_folder import make_private_folder
from synrl_ray.errors import UserError

HOLD = (
    "import sys, time; from synrl_ray.cluster.private_folder import make_private_folder\n"
    "print(make_private_folder().path, flush=True); time.sleep(600)"
)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path: the sockets of Ray lie below."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        yield Path(short)


def test_a_folder_is_its_users_alone_until_it_is_removed(root: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_private_folder()
    finally:
        os.umask(before)
    assert folder.path.parent == root
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.ray.parent == folder.path
    folder.remove()
    assert list(root.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_stays(root: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left), (living, used) = start(), start()
    try:
        (left / "ray" / "logs").mkdir(parents=True)
        killed.kill()
        killed.wait()
        own = make_private_folder()
        assert sorted(root.iterdir()) == sorted([used, own.path])
        own.remove()
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()


def test_a_folder_that_a_child_has_inherited_is_in_use(root: Path) -> None:
    """A head outlives the program that has started it."""
    folder = make_private_folder()
    child = subprocess.Popen(["sleep", "600"], pass_fds=(folder.lock,))
    try:
        folder.release()
        make_private_folder().remove()
        assert folder.path.exists()
    finally:
        child.kill()
        child.wait()
    make_private_folder().remove()
    assert not folder.path.exists()


def test_a_start_at_the_same_moment_does_not_remove_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = private_folder.fcntl.flock

    def meanwhile(handle: int, operation: int) -> None:
        if not operation & private_folder.fcntl.LOCK_NB:
            private_folder.remove_unused(root)
        lock(handle, operation)

    monkeypatch.setattr(private_folder.fcntl, "flock", meanwhile)
    folder = make_private_folder()
    assert [path.name for path in folder.path.iterdir()] == ["in-use"]
    folder.remove()


def test_a_folder_that_a_process_names_is_in_use(root: Path) -> None:
    """What a killed head has started may live on for a while."""
    folder = make_private_folder()
    folder.release()
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"--temp-dir={folder.ray}"])
    try:
        make_private_folder().remove()
        assert folder.path.exists()
    finally:
        orphan.kill()
        orphan.wait()


def test_nothing_else_is_removed(root: Path, tmp_path: Path) -> None:
    kept = [root / name for name in ("synrl-open", "synrl-unlocked", "synrl-file", "synrl-link", "other")]
    for path in (kept[0], kept[1], kept[4], tmp_path / "target"):
        path.mkdir(mode=0o700)
    for path in (kept[0], kept[4], tmp_path / "target"):
        (path / "in-use").touch()
    kept[0].chmod(0o755)
    kept[2].touch()
    kept[3].symlink_to(tmp_path / "target")
    make_private_folder().remove()
    assert sorted(root.iterdir()) == sorted(kept)
    assert (tmp_path / "target" / "in-use").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_folder_is_not_touched(root: Path) -> None:
    folder = make_private_folder()
    folder.release()
    os.chown(folder.path, 12345, 12345)
    make_private_folder().remove()
    assert folder.path.exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "it does not exist"),
        ("file", "it is no folder"),
        ("long", r"its path is longer than \d+ bytes, too long for Ray's sockets"),
        ("closed", "you may not write there"),
        ("full", "only 3 MB are free there"),
        ("refused", "Read-only file system"),
        ("lockless", "No locks available"),
    ],
)
def test_a_named_folder_that_does_not_fit_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reason: str
) -> None:
    def refuse(**_: object) -> str:
        raise OSError(30, "Read-only file system")

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    (root / "file").touch()
    (tmp_path / "long" / ("x" * 40)).mkdir(parents=True)
    names = {"missing": root / "nowhere", "file": root / "file", "long": tmp_path / "long" / ("x" * 40)}
    place = names.get(kind, root)
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    if kind == "closed":
        monkeypatch.setattr(private_folder.os, "access", lambda *_: False)
    if kind == "full":
        monkeypatch.setattr(private_folder.shutil, "disk_usage", lambda _: Usage(10**9, 997 * 10**6, 3 * 10**6))
    if kind == "lockless":
        monkeypatch.setattr(private_folder.fcntl, "flock", no_locks)
    if kind == "refused":
        monkeypatch.setattr(private_folder.tempfile, "mkdtemp", refuse)
    with pytest.raises(UserError, match=rf"cannot keep its files in .*{place}: {reason} — name a folder .*RAY_TMPDIR"):
        make_private_folder()
    assert [path.name for path in root.iterdir()] == ["file"]


def test_a_tmpdir_that_is_too_long_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    folder = make_private_folder()
    assert folder.path.parent == Path("/tmp")
    folder.remove()
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        folder = make_private_folder()
        assert folder.path.parent == Path(short)
        shutil.rmtree(folder.path)
        folder.release()


def test_the_longest_socket_fits() -> None:
    """The figures are those of Ray's own check and names."""
    from ray._private.utils import validate_socket_filepath

    path = "/" + "x" * (private_folder._LONGEST_ROOT - 1) + "/synrl-12345678" + private_folder._LONGEST_SESSION
    validate_socket_filepath(path)
    with pytest.raises(OSError, match="cannot exceed"):
        validate_socket_filepath(path + "x")
