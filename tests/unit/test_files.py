import os
import stat
from pathlib import Path

import pytest

from synrl_ray.errors import UserError
from synrl_ray.files import expanded, read_bounded, rename_durably, sync_tree, write_atomically


def record_calls(monkeypatch):
    """What is synced and renamed, in order; a temporary file by the beginning of its name."""
    calls = []
    original = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

    def fsync(handle):
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        hidden = path.name.startswith(".")
        calls.append(f"fsync {path.name.rpartition('.')[0] if hidden else path}")
        original["fsync"](handle)

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):

        def rename(source, target, *, name=name):
            calls.append(f"{name} {Path(target).name}")
            original[name](source, target)

        monkeypatch.setattr(os, name, rename)
    return calls


@pytest.mark.parametrize(("content", "expected"), [("grün\n", "grün\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_text_is_written_as_utf8_and_bytes_as_they_are(tmp_path, content, expected):
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == expected


def test_missing_folders_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file", "x")
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_existing_file_is_replaced_and_nothing_else_is_left(tmp_path):
    (tmp_path / "file").write_text("old and longer")
    write_atomically(tmp_path / "file", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "new")]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_file_has_the_mode_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_content_is_synced_before_its_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    calls = record_calls(monkeypatch)
    write_atomically(tmp_path / "new" / "file", "x")
    assert calls == [f"fsync {tmp_path}", "fsync .file", "replace file", f"fsync {tmp_path / 'new'}"]


def test_a_whole_tree_is_synced_before_it_is_renamed_and_the_rename_after_that(tmp_path, monkeypatch):
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("x")
    (tmp_path / "tree" / "link").symlink_to("/dev/zero")
    calls = record_calls(monkeypatch)
    sync_tree(tmp_path / "tree")
    rename_durably(tmp_path / "tree", tmp_path / "there")
    tree = {f"fsync {tmp_path / name}" for name in ("tree/deep/file", "tree/deep", "tree")}
    assert set(calls[:3]) == tree
    assert calls[3:] == ["rename there", f"fsync {tmp_path}"]


def test_what_cannot_be_synced_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")

    def fail(handle):
        raise OSError("the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        sync_tree(tmp_path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_text("old")

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "file", "new")
    monkeypatch.undo()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "file", 5) == read_bounded(tmp_path / "link", 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        read_bounded(tmp_path / "file", 4)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none", 4)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, kind, linked):
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    with pytest.raises(ValueError, match="no regular file"):
        read_bounded(path, 10)


def test_what_another_process_removes_meanwhile_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    status = os.lstat

    def gone(path):
        (tmp_path / "file").unlink(missing_ok=True)
        return status(path)

    monkeypatch.setattr(os, "lstat", gone)
    sync_tree(tmp_path)


def test_a_home_that_is_not_there_is_a_line():
    assert expanded("a/b") == Path("a/b")
    with pytest.raises(UserError, match="begins with a home folder that is not there"):
        expanded("~nobody99/x")
