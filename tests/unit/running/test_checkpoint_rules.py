"""Two checkpoints, of which one is always whole; what a position may say; what a private copy may hold."""

import errno
import json
import os
import shutil
import stat

import pytest

from synrl_ray.errors import UserError
from synrl_ray.running import checkpoints as module
from synrl_ray.running.checkpoints import Checkpoints, Position
from synrl_ray.running.seal import seal


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "run").mkdir()
    return Checkpoints(tmp_path / "run")


def write(folder, content="weights"):
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text(content)


def saved(checkpoints, *iterations, own=True):
    for iteration in iterations:
        checkpoints.save(lambda folder, n=iteration: write(folder, str(n)), Position(iteration=iteration), own=own)


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "run").iterdir())


def test_the_two_newest_are_kept_and_the_newest_is_found(checkpoints, tmp_path):
    assert checkpoints.newest() is None
    saved(checkpoints, 1)
    assert names(tmp_path) == ["checkpoint"]
    saved(checkpoints, 2, 3)
    assert names(tmp_path) == ["checkpoint", "checkpoint.old"]
    found = checkpoints.newest()
    assert (found.position.iteration, found.is_own, found.damaged) == (3, True, None)
    assert found.folder == tmp_path / "run" / "checkpoint"
    assert (found.state / "deep" / "file").read_text() == "3"
    shutil.rmtree(found.folder)
    assert checkpoints.newest().position.iteration == 2
    assert checkpoints.newest().damaged is None, "what is not there is not damaged"


def test_a_damaged_one_is_named_and_the_one_before_it_taken_and_kept(checkpoints, tmp_path):
    saved(checkpoints, 1, 2)
    (tmp_path / "run" / "checkpoint" / "algorithm" / "deep" / "file").write_text("cut")
    found = checkpoints.newest()
    assert (found.position.iteration, found.damaged) == (1, tmp_path / "run" / "checkpoint")
    saved(checkpoints, 3)
    assert checkpoints.newest().position.iteration == 3
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    assert checkpoints.newest().position.iteration == 1, "the damaged one did not take its place"


def test_where_both_are_damaged_the_newer_one_is_named(checkpoints, tmp_path):
    saved(checkpoints, 1, 2)
    for name in ("checkpoint", "checkpoint.old"):
        (tmp_path / "run" / name / "algorithm" / "deep" / "file").write_text("cut")
    with pytest.raises(UserError, match=r"checkpoint .*run/checkpoint is damaged — restore it or start a new run"):
        checkpoints.newest()


def test_a_link_in_a_checkpoints_place_is_damage_even_to_a_whole_one(checkpoints, tmp_path):
    saved(checkpoints, 1, 2)
    os.rename(tmp_path / "run" / "checkpoint", tmp_path / "elsewhere")
    (tmp_path / "run" / "checkpoint").symlink_to(tmp_path / "elsewhere")
    assert checkpoints.newest().position.iteration == 1
    assert checkpoints.newest().damaged == tmp_path / "run" / "checkpoint"


def test_what_fails_while_it_is_written_leaves_no_part_and_keeps_the_others(checkpoints, tmp_path):
    saved(checkpoints, 1)

    def fail(folder):
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(fail, Position(iteration=2))
    assert names(tmp_path) == ["checkpoint"]
    assert checkpoints.newest().position.iteration == 1


def test_a_part_that_a_killed_process_has_left_is_no_hindrance(checkpoints, tmp_path):
    write(tmp_path / "run" / "checkpoint.new")
    saved(checkpoints, 1)
    assert names(tmp_path) == ["checkpoint"]
    assert not (tmp_path / "run" / "checkpoint" / "deep").exists()


def test_only_what_this_user_has_made_is_own(checkpoints):
    saved(checkpoints, 1, own=False)
    found = checkpoints.newest()
    assert not found.is_own
    with pytest.raises(UserError, match=r"was not made by you .* — if you trust whoever made it, add --trust"):
        found.require_own()
    with checkpoints.opened(only_own=False) as opened:
        assert opened.position.iteration == 1
    with pytest.raises(UserError, match="was not made by you"), checkpoints.opened(only_own=True):
        pass
    saved(checkpoints, 2)
    checkpoints.newest().require_own()
    with checkpoints.opened(only_own=True) as opened:
        assert opened.is_own


def test_what_is_opened_is_a_private_copy_that_is_gone_afterwards(checkpoints, tmp_path):
    with checkpoints.opened(only_own=True) as nothing:
        assert nothing is None
    saved(checkpoints, 1)
    before = os.umask(0)
    try:
        with checkpoints.opened(only_own=True) as found:
            assert not found.state.is_relative_to(tmp_path / "run")
            assert (found.state / "deep" / "file").read_text() == "1"
            for folder in (found.state, found.state / "deep", found.state.parent):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (tmp_path / "run" / "checkpoint" / "algorithm" / "deep" / "file").write_text("swapped")
            assert (found.state / "deep" / "file").read_text() == "1"
    finally:
        os.umask(before)
    assert not found.state.exists()


@pytest.mark.parametrize("linked", ["deep/file", "deep"])
def test_a_copy_follows_no_link_even_to_the_same_content(checkpoints, tmp_path, linked):
    """Its copy would be whole: a link is refused before it is followed."""
    saved(checkpoints, 1)
    path = tmp_path / "run" / "checkpoint" / "algorithm" / linked
    os.rename(path, tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(UserError, match="is damaged"), checkpoints.opened(only_own=False):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_copy_is_no_damage(checkpoints, monkeypatch, number):
    saved(checkpoints, 1, 2)

    def full(source, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with (
        pytest.raises(UserError, match=r"there is no room for a copy of checkpoint .* — let TMPDIR name a folder"),
        checkpoints.opened(only_own=False),
    ):
        pass


def test_another_error_while_it_is_copied_is_damage(checkpoints, tmp_path, monkeypatch):
    saved(checkpoints, 1, 2)
    copy, failed = shutil.copyfileobj, []

    def broken_once(source, target):
        if not failed:
            failed.append(True)
            raise OSError(errno.EIO, "Input/output error")
        copy(source, target)

    monkeypatch.setattr(module.shutil, "copyfileobj", broken_once)
    with checkpoints.opened(only_own=False) as found:
        assert (found.position.iteration, found.damaged) == (1, tmp_path / "run" / "checkpoint")


WHOLE = {"iteration": 3, "steps": 2**63 - 1, "episodes": 0, "wall_seconds": 1.5}


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"wall_seconds": 2}, True),
        ({"wall_seconds": 0.0}, True),
        ({"steps": 2**63}, False),
        ({"iteration": -1}, False),
        ({"episodes": -1}, False),
        ({"iteration": 1.0}, False),
        ({"episodes": True}, False),
        ({"steps": "1"}, False),
        ({"wall_seconds": -0.5}, False),
        ({"wall_seconds": float("inf")}, False),
        ({"wall_seconds": float("nan")}, False),
        ({"wall_seconds": True}, False),
        ({"wall_seconds": None}, False),
        ({"unknown": 1}, False),
    ],
)
def test_what_a_position_may_say(checkpoints, tmp_path, change, accepted):
    saved(checkpoints, 1)
    folder = tmp_path / "run" / "checkpoint"
    (folder / "position.json").write_text(json.dumps({**WHOLE, **change}))
    seal(folder)
    if not accepted:
        with pytest.raises(UserError, match="is damaged"):
            checkpoints.newest()
        return
    position = checkpoints.newest().position
    assert position == Position(**{**WHOLE, **change})
    assert type(position.wall_seconds) is float


@pytest.mark.parametrize(("size", "accepted"), [(4096, True), (4097, False)])
def test_a_position_is_read_up_to_its_bound(checkpoints, tmp_path, size, accepted):
    saved(checkpoints, 5)
    folder = tmp_path / "run" / "checkpoint"
    content = (folder / "position.json").read_text()
    (folder / "position.json").write_text(content + " " * (size - len(content)))
    seal(folder)
    if accepted:
        assert checkpoints.newest().position.iteration == 5
    else:
        with pytest.raises(UserError, match="is damaged"):
            checkpoints.newest()


def test_a_run_begins_at_nothing_and_its_checkpoints_are_its_users(checkpoints):
    assert Position() == Position(iteration=0, steps=0, episodes=0, wall_seconds=0.0)
    checkpoints.save(write, Position())
    found = checkpoints.newest()
    assert found.is_own
    assert found.position == Position()
