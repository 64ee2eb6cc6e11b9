"""The newest complete checkpoint is found again, wherever the process was killed."""

import errno
import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from synrl_ray.errors import UserError
from synrl_ray.running import checkpoints
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seal import seal

FIRST = Position(iteration=1, steps=100, episodes=4, wall_seconds=1.25)
SECOND = Position(iteration=2, steps=200, episodes=9, wall_seconds=2.5)
THIRD = Position(iteration=3, steps=300, episodes=11, wall_seconds=4.0)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def writer(position):
    """Writes a checkpoint that knows its own position."""

    def write(path):
        path.mkdir()
        (path / "state").write_text(str(position.iteration))

    return write


def files(folder):
    return sorted(path.name for path in folder.path.iterdir())


def save(folder, position):
    folder.save_checkpoint(writer(position), position)


def found(folder):
    """The position, checked against what the algorithm's part holds."""
    checkpoint = folder.checkpoint()
    if checkpoint is None:
        return None
    assert (checkpoint.state / "state").read_text() == str(checkpoint.position.iteration)
    assert checkpoint.is_own
    return checkpoint.position


def kill_at(monkeypatch, module, name, call=1):
    """Let the process die just before the ``call``-th use of a function."""
    original, count = getattr(module, name), iter(range(1, 100))

    def function(*arguments, **options):
        if next(count) == call:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, function)


def save_and_die(folder, position, monkeypatch, module, name, call):
    with monkeypatch.context() as patch:
        kill_at(patch, module, name, call)
        with pytest.raises(Killed):
            save(folder, position)


def test_there_is_no_checkpoint_at_the_start(folder):
    assert folder.checkpoint() is None


def test_saved_checkpoint_is_found_and_nothing_else_is_left(folder):
    save(folder, FIRST)
    assert found(folder) == FIRST
    save(folder, SECOND)
    assert found(folder) == SECOND
    assert files(folder) == ["checkpoint", "checkpoint.old"]
    save(folder, THIRD)
    assert files(folder) == ["checkpoint", "checkpoint.old"]


def test_failing_write_keeps_the_checkpoint(folder):
    save(folder, FIRST)

    def half(path):
        path.mkdir()
        (path / "state").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folder.save_checkpoint(half, SECOND)
    assert found(folder) == FIRST
    save(folder, THIRD)
    assert found(folder) == THIRD
    assert files(folder) == ["checkpoint", "checkpoint.old"]


def test_failing_first_write_leaves_no_checkpoint(folder):
    with pytest.raises(FileNotFoundError):
        folder.save_checkpoint(lambda path: (path / "missing" / "file").write_text(""), FIRST)
    assert folder.checkpoint() is None


# save_checkpoint removes .new, removes .old, renames current to .old, renames .new to current.
DEATHS = [(checkpoints, "remove", 1), (checkpoints, "remove", 2), (os, "rename", 1), (os, "rename", 2)]


@pytest.mark.parametrize(("module", "name", "call"), DEATHS)
def test_death_at_any_step_keeps_a_checkpoint_and_the_next_save_works(folder, monkeypatch, module, name, call):
    save(folder, FIRST)
    save_and_die(folder, SECOND, monkeypatch, module, name, call)
    assert found(folder) in (FIRST, SECOND)
    save(folder, THIRD)
    assert found(folder) == THIRD
    assert files(folder) == ["checkpoint", "checkpoint.old"]


@pytest.mark.parametrize("second_death", DEATHS)
@pytest.mark.parametrize("first_death", DEATHS)
def test_two_deaths_in_a_row_keep_a_checkpoint(folder, monkeypatch, first_death, second_death):
    save(folder, FIRST)
    save_and_die(folder, SECOND, monkeypatch, *first_death)
    with monkeypatch.context() as patch, suppress(Killed):  # it survives where the save has fewer such steps
        kill_at(patch, *second_death)
        save(folder, THIRD)
    assert found(folder) in (FIRST, SECOND, THIRD)


def test_incomplete_new_checkpoint_is_not_taken(folder):
    save(folder, FIRST)
    (folder.path / "checkpoint.new" / "algorithm").mkdir(parents=True)
    assert found(folder) == FIRST


def test_old_checkpoint_is_taken_where_the_new_one_is_missing(folder):
    save(folder, FIRST)
    os.rename(folder.path / "checkpoint", folder.path / "checkpoint.old")
    assert found(folder) == FIRST


def test_current_checkpoint_goes_before_the_old_one(folder):
    save(folder, FIRST)
    os.rename(folder.path / "checkpoint", folder.path / "keep")
    save(folder, SECOND)
    os.rename(folder.path / "keep", folder.path / "checkpoint.old")
    assert found(folder) == SECOND


def corrupt(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("name", ["position.json", "algorithm/state", "seal.json"])
def test_a_truncated_newest_checkpoint_gives_way_to_the_one_before(folder, name):
    save(folder, FIRST)
    save(folder, SECOND)
    corrupt(folder.path / "checkpoint" / name)
    assert found(folder) == FIRST
    assert folder.checkpoint().damaged == folder.path / "checkpoint"
    save(folder, THIRD)
    assert found(folder) == THIRD
    corrupt(folder.path / "checkpoint" / name)
    assert found(folder) == FIRST, "the damaged one has not taken its place"


def test_a_missing_file_and_one_too_many_are_damage(folder):
    save(folder, FIRST)
    save(folder, SECOND)
    (folder.path / "checkpoint" / "algorithm" / "more").write_text("")
    assert found(folder) == FIRST
    (folder.path / "checkpoint.old" / "algorithm" / "state").unlink()
    with pytest.raises(UserError, match="checkpoint is damaged"):
        folder.checkpoint()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b'{"bogus": 1}'])
@pytest.mark.parametrize("name", ["position.json", "seal.json"])
def test_damage_without_another_checkpoint_is_named(folder, content, name):
    save(folder, FIRST)
    (folder.path / "checkpoint" / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        folder.checkpoint()
    assert str(caught.value) == f"checkpoint {folder.path / 'checkpoint'} is damaged — restore it or start a new run"


def test_a_checkpoint_without_a_seal_is_taken_but_not_as_own(folder):
    save(folder, FIRST)
    (folder.path / "checkpoint" / "seal.json").unlink()
    assert folder.checkpoint().position == FIRST
    assert not folder.checkpoint().is_own


# --- what is restored is what was verified -------------------------------------------------------------------


def test_a_checkpoint_that_is_swapped_after_the_check_is_not_what_is_loaded(folder, tmp_path):
    save(folder, FIRST)
    with folder.opened_checkpoint(only_own=True) as opened:
        shutil.rmtree(folder.path / "checkpoint")
        (folder.path / "checkpoint" / "algorithm").mkdir(parents=True)
        (folder.path / "checkpoint" / "algorithm" / "state").write_text("evil")
        assert (opened.state / "state").read_text() == "1"
        assert opened.folder == folder.path / "checkpoint"
        assert not opened.state.is_relative_to(tmp_path / "run")
        assert stat.S_IMODE(opened.state.parents[1].stat().st_mode) == 0o700, "others can neither read nor change it"
    assert not opened.state.exists()


def test_a_checkpoint_that_is_swapped_while_it_is_copied_is_refused(folder, monkeypatch):
    """What the seal is compared with is the copy, so that a change at any moment shows."""
    save(folder, FIRST)
    copy = checkpoints._copied

    def swapped(source, target):
        (source / "algorithm" / "state").write_text("evil")
        return copy(source, target)

    monkeypatch.setattr(checkpoints, "_copied", swapped)
    with pytest.raises(UserError, match="is damaged"), folder.opened_checkpoint(only_own=True):
        pass


def test_a_strangers_checkpoint_is_refused_where_it_is_opened(folder, tmp_path, monkeypatch):
    save(folder, FIRST)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    with pytest.raises(UserError, match="was not made by you"), folder.opened_checkpoint(only_own=True):
        pass
    with folder.opened_checkpoint(only_own=False) as opened:
        assert opened.position == FIRST


@pytest.mark.parametrize("kind", ["file link", "folder link", "checkpoint link", "pipe"])
def test_links_and_pipes_in_a_checkpoint_are_damage(folder, tmp_path, kind):
    save(folder, FIRST)
    checkpoint = folder.path / "checkpoint"
    if kind == "pipe":
        os.mkfifo(checkpoint / "pipe")
    else:
        path = {"file link": checkpoint / "algorithm" / "state", "folder link": checkpoint / "algorithm"}.get(
            kind, checkpoint
        )
        os.rename(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is damaged"), folder.opened_checkpoint(only_own=True):
        pass


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint.old", "checkpoint.new"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_what_is_no_folder_in_the_place_of_a_checkpoint_gives_way(folder, name, kind):
    """It ended the training at its next checkpoint with a traceback, or a pipe kept it waiting for ever."""
    save(folder, FIRST)
    save(folder, SECOND)
    place = folder.path / name
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("x") if kind == "file" else os.mkfifo(place)
    assert found(folder) == (FIRST if name == "checkpoint" else SECOND)
    save(folder, THIRD)
    assert found(folder) == THIRD


def test_no_room_for_the_private_copy_is_said_of_the_right_folder(folder, tmp_path, monkeypatch):
    save(folder, FIRST)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match="no room for a copy of checkpoint") as caught:
        folder.opened_checkpoint(only_own=True).__enter__()
    assert "TMPDIR" in caught.value.remedy


# --- nothing is lost -----------------------------------------------------------------------------------------


def test_content_and_names_are_on_the_disk_before_each_rename(folder, monkeypatch):
    """A power cut between any two calls finds a whole checkpoint: all that a rename shows was synced before it."""
    save(folder, FIRST)
    calls, fsync, rename = [], os.fsync, os.rename

    def record_sync(handle):
        calls.append(("sync", Path(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def record_rename(source, target):
        calls.append(("rename", Path(source)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "rename", record_rename)
    save(folder, SECOND)
    run = folder.path
    renames = [i for i, (what, _) in enumerate(calls) if what == "rename"]
    assert [calls[i][1] for i in renames] == [run / "checkpoint", run / "checkpoint.new"]
    before = {path for what, path in calls[: renames[0]] if what == "sync"}
    fresh = run / "checkpoint.new"
    expected = [".", "algorithm", "algorithm/state", "position.json", "seal.json"]
    assert {fresh / name for name in expected} <= before
    assert calls[renames[0] + 1 :] == [("sync", run), ("rename", fresh), ("sync", run)]


def test_metrics_are_on_the_disk_before_the_checkpoint_that_knows_of_them(folder, monkeypatch):
    folder.append_metrics({"iteration": 1})
    synced, fsync = [], os.fsync

    def record(handle):
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    save(folder, FIRST)
    assert synced[0] == "metrics.jsonl"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_part_of_a_checkpoint_does_not_keep_the_disk_full(folder, error):
    save(folder, FIRST)

    def write(path):
        path.mkdir()
        (path / "state").write_text("a part")
        raise error

    with pytest.raises(type(error)):
        folder.save_checkpoint(write, SECOND)
    assert files(folder) == ["checkpoint"]


def test_a_run_whose_checkpoints_are_gone_says_so_and_keeps_its_metrics(folder):
    """It began anew at 0, and wiped what it had measured."""
    folder.append_metrics({"iteration": 1})
    folder.append_metrics({"iteration": 2})
    assert folder.checkpoint() is None, "killed before the first checkpoint: there is nothing to restore"
    save(folder, FIRST)
    (folder.path / "policy.json").write_text("{}")
    assert found(folder) == FIRST
    shutil.rmtree(folder.path / "checkpoint")
    for look in (folder.checkpoint, folder.opened_checkpoint(only_own=False).__enter__):
        with pytest.raises(UserError, match="are gone, and it had come to iteration 2") as caught:
            look()
        assert "restore them" in caught.value.remedy
    assert len(folder.metrics()) == 2


BAD_POSITIONS = [
    {"iteration": "1"}, {"steps": 1.5}, {"steps": -1}, {"episodes": None}, {"iteration": True}, {"steps": 2**70},
    {"wall_seconds": "1"}, {"wall_seconds": float("nan")}, {"wall_seconds": float("inf")}, {"wall_seconds": -1.0},
]  # fmt: skip


@pytest.mark.parametrize("position", BAD_POSITIONS, ids=str)
def test_a_position_that_no_run_can_have_is_damage(folder, position):
    save(folder, FIRST)
    path = folder.path / "checkpoint"
    (path / "position.json").write_text(json.dumps(position))
    seal(path)
    with pytest.raises(UserError, match="is damaged"):
        folder.checkpoint()
