"""What functions on files promise: one of several writers succeeds, nothing half-made is left, links lead nowhere."""

import errno
import os
import stat
from pathlib import Path

import pytest

from synrl_ray import files
from synrl_ray.errors import UserError
from synrl_ray.files import (
    home_folder,
    make_folder,
    named,
    open_regular,
    remove,
    sync_folder,
    sync_tree,
    write_atomically,
    write_new,
)


@pytest.fixture
def synced(monkeypatch):
    """The names of what is synced, in order."""
    names, sync = [], os.fsync

    def fsync(handle):
        names.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


@pytest.fixture
def without_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def refuse(number):
    def fail(*arguments, **rest):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.usefixtures("without_umask")
@pytest.mark.parametrize(("given", "mode"), [({}, 0o666), ({"mode": 0o600}, 0o600)])
def test_a_new_file_is_whole_has_its_mode_and_is_on_the_disk(tmp_path, synced, given, mode):
    write_new(tmp_path / "file", "grün", **given)
    assert (tmp_path / "file").read_text() == "grün"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert synced[-1] == tmp_path.name, "its name too"


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_of_several_writers_one_succeeds_with_and_without_hard_links(tmp_path, monkeypatch, number):
    if number is not None:
        monkeypatch.setattr(os, "link", refuse(number))
    write_new(tmp_path / "file", "first", mode=0o600)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "file", "second")
    assert (tmp_path / "file").read_text() == "first"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "no draft is left"


def test_another_error_of_a_link_is_no_file_system_without_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_new(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe", "nothing"])
def test_whatever_is_there_is_removed_and_what_a_link_leads_to_stays(tmp_path, kind):
    path, kept = tmp_path / "it", tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    if kind == "file":
        path.touch()
    elif kind == "folder":
        (path / "deep").mkdir(parents=True)
    elif kind == "link":
        path.symlink_to(kept)
    elif kind == "pipe":
        os.mkfifo(path)
    remove(path)
    assert not os.path.lexists(path)
    assert (kept / "file").exists()


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "tree").mkdir()
    file, elsewhere = tmp_path / "tree" / "file", tmp_path / "elsewhere"
    file.touch()
    elsewhere.touch()
    look = os.lstat

    def swapped(path):
        found = look(path)
        if str(path) == str(file) and not file.is_symlink():
            file.unlink()
            file.symlink_to(elsewhere)
        return found

    monkeypatch.setattr(os, "lstat", swapped)
    with pytest.raises(OSError) as caught:
        sync_tree(tmp_path / "tree")
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refuse(number))
    sync_folder(tmp_path)


def test_a_folder_that_cannot_be_synced_is_an_error_and_a_link_to_one_is_followed(tmp_path, monkeypatch, synced):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    sync_folder(tmp_path / "link")
    assert synced == ["folder"]
    with pytest.raises(NotADirectoryError):
        files._sync(__file__, os.O_RDONLY | os.O_DIRECTORY)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_of_new_folders_each_is_on_the_disk_in_the_one_above_it(tmp_path, synced):
    make_folder(tmp_path / "a" / "b" / "c")
    assert sorted(synced) == sorted([tmp_path.name, "a", "b"])
    synced.clear()
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == []


def test_what_is_refused_is_closed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ValueError, match="no regular file"):
            open_regular(tmp_path / "pipe")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    assert home_folder() == Path.home()

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(nowhere))
    with pytest.raises(UserError, match="no home folder on this machine — let HOME name a folder"):
        home_folder()


def test_an_interrupt_when_the_file_is_in_its_place_stays_one(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", "whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "whole")]


@pytest.mark.parametrize(("given", "name"), [(".", "here"), ("..", "above"), ("x", "x"), ("../x", "x")])
def test_a_folder_has_a_name_however_it_is_given(tmp_path, monkeypatch, given, name):
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert named(Path(given)).name == name
