"""A power cut right after a checkpoint, or in the middle of one: what a copy of the disk's image holds at that moment.

A file system in a file, mounted through a loop device, writes to that file only what it has written to its "disk". A
copy of the file is therefore what a power cut would leave. For root on a machine with loop devices.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from synrl_ray import files
from synrl_ray.running.run_folder import Position, RunFolder

FIRST, SECOND = Position(iteration=1, steps=100), Position(iteration=2, steps=200)
CONTENT = os.urandom(200_000)


@contextmanager
def mounted(image, place):
    """Nothing is written by and by (``commit``), and no rename is made safe for those who forget to sync."""
    place.mkdir(exist_ok=True)
    options = "loop,commit=300,noauto_da_alloc"
    done = subprocess.run(["mount", "-o", options, str(image), str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system in a file can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("for root, with mkfs.ext4")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    return image


def write(path):
    (path / "learner").mkdir(parents=True)
    (path / "learner" / "state.pkl").write_bytes(CONTENT)


def after_the_cut(image, tmp_path):
    """The position of the newest whole checkpoint on a copy of the disk, and what its state holds."""
    copy = tmp_path / "copy"
    shutil.copyfile(image, copy)
    with mounted(copy, tmp_path / "again") as place:
        found = RunFolder(place / "run").checkpoint()
        if found is not None:
            assert (found.state / "learner" / "state.pkl").read_bytes() == CONTENT
        return found and found.position


def test_a_cut_at_any_moment_leaves_a_whole_checkpoint(disk, tmp_path, monkeypatch):
    cuts, rename = [], os.rename

    def cut_before_and_after(source, target):
        cuts.append(after_the_cut(disk, tmp_path))
        rename(source, target)
        cuts.append(after_the_cut(disk, tmp_path))

    with mounted(disk, tmp_path / "disk") as place:
        (place / "run").mkdir()
        run = RunFolder(place / "run")
        run.save_checkpoint(write, FIRST)
        assert after_the_cut(disk, tmp_path) == FIRST
        monkeypatch.setattr(os, "rename", cut_before_and_after)
        run.save_checkpoint(write, SECOND)
        assert len(cuts) == 4
        assert set(cuts) <= {FIRST, SECOND}
        assert after_the_cut(disk, tmp_path) == SECOND


def test_without_syncing_the_same_cut_loses_the_checkpoint(disk, tmp_path, monkeypatch):
    """The control: the copy of the image really shows what was not written."""
    with mounted(disk, tmp_path / "disk") as place:
        (place / "run").mkdir()
        os.sync()
        monkeypatch.setattr(files.os, "fsync", lambda handle: None)
        RunFolder(place / "run").save_checkpoint(write, FIRST)
        assert after_the_cut(disk, tmp_path) is None
