"""A folder is one trainer's at a time, whatever happens to its files."""

import errno
import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from synrl_ray.errors import UserError
from synrl_ray.registry import get_experiment
from synrl_ray.running.folder_copy import FolderCopy
from synrl_ray.running.lock import locked_folder, require_no_links
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.storage import Storage

SPEC = RunSpec(experiment=get_experiment("cartpole-ppo"), policy="ann", seed=3, num_workers=1)


def is_locked(path):
    """By another process, as a second opening of the file is."""
    try:
        with locked_folder(path, "run folder"):
            return False
    except UserError as error:
        return "is in use" in str(error)


def test_replacing_the_configuration_keeps_the_lock(tmp_path):
    run = RunFolder.create(tmp_path / "run", SPEC)
    with run.locked():
        assert is_locked(run.path)
        run.write_spec(SPEC)
        assert is_locked(run.path)
    assert not is_locked(run.path)


def test_nothing_is_left_and_what_a_killed_process_has_left_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text("")
    with locked_folder(tmp_path, "run folder"):
        assert is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_its_holder_has_just_removed_is_none(tmp_path, monkeypatch):
    """Between opening the file and locking it the holder ends: the lock would be on a file that nobody else sees."""
    flock, removed = fcntl.flock, []

    def remove_first(handle, operation):
        if not removed:
            removed.append((tmp_path / ".lock").unlink())
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked_folder(tmp_path, "run folder"):
        assert is_locked(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_a_line(tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError) as caught, locked_folder(tmp_path, "run folder"):
        pass
    expected = f"the file system of run folder {tmp_path} cannot lock files ({os.strerror(number)}) — "
    assert str(caught.value).startswith(expected)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "made")
    with pytest.raises(UserError, match="cannot be written"), locked_folder(tmp_path / "run", "run folder"):
        pass
    assert not (tmp_path / "made").exists()


def test_a_folder_with_a_link_that_leads_out_of_it_is_not_worked_in(tmp_path):
    run = RunFolder.create(tmp_path / "run", SPEC)
    (run.path / "inside").symlink_to("config.json")
    require_no_links(run.path, "run folder")
    (run.path / "tensorboard").symlink_to(tmp_path)
    with pytest.raises(UserError) as caught, run.locked():
        pass
    assert f"run folder {run.path} holds a link to elsewhere, tensorboard — " in str(caught.value)


def test_a_link_below_the_folder_is_found_too(tmp_path):
    """TensorBoard's files are named by the second: a link of that name was written through."""
    run = RunFolder.create(tmp_path / "run", SPEC)
    (run.path / "tensorboard").mkdir()
    (run.path / "tensorboard" / "events.out.tfevents.1").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(UserError, match=r"holds a link to elsewhere, tensorboard/events.out.tfevents.1"), run.locked():
        pass


def test_of_several_that_create_a_run_at_the_same_moment_just_one_does(tmp_path):
    """The others replaced its configuration, so that a run trained something else than its folder said."""
    with ThreadPoolExecutor(8) as pool:
        barrier = threading.Barrier(8)

        def create(seed):
            barrier.wait()
            try:
                RunFolder.create(tmp_path / "run", replace(SPEC, seed=seed))
            except UserError:
                return None
            return seed

        (created,) = [seed for seed in pool.map(create, range(8)) if seed is not None]
    assert RunFolder(tmp_path / "run").spec().seed == created


def test_a_folder_that_cannot_be_written_any_more_hides_no_error_and_holds_no_lock(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        with pytest.raises(KeyError), locked_folder(tmp_path, "run folder"):
            raise KeyError
    with locked_folder(tmp_path, "run folder"):
        pass


def test_a_folder_that_holds_nothing_but_a_lock_is_free(tmp_path):
    (tmp_path / ".lock").write_text("")
    RunFolder.require_free(tmp_path)


def test_a_link_to_itself_is_no_traceback(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    require_no_links(tmp_path, "run folder")
    storage = Storage(str(tmp_path / "loop" / "x"))
    with pytest.raises(UserError, match="cannot be written"):
        storage.require_free(tmp_path / "run")
    assert FolderCopy(tmp_path / "loop").target is None
