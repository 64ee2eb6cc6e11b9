"""Whose checkpoint it is: a stranger can neither forge a seal nor change what was sealed."""

import contextlib
import errno
import hashlib
import json
import os
import pickle
import shutil
import socket
import stat
from pathlib import Path

import pytest

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of
from synrl_ray.registry import get_experiment
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.seal import Seal, examine, examine_files, seal, sign_files
from synrl_ray.running.seal_key import why_no_key
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.trust import require_resumable


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me"))
    return tmp_path / "me"


@pytest.fixture
def folder(tmp_path, home):
    (tmp_path / "sealed" / "deep").mkdir(parents=True)
    (tmp_path / "sealed" / "deep" / "weights").write_bytes(b"1234")
    seal(tmp_path / "sealed")
    return tmp_path / "sealed"


def test_what_is_sealed_here_is_whole_and_own(folder, home):
    assert examine(folder) == Seal(whole=True, own=True)
    key = home / "synrl_ray" / "checkpoint.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    before = key.read_bytes()
    seal(folder)
    assert key.read_bytes() == before


def test_another_user_sees_that_it_is_whole_but_not_own(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    assert examine(folder) == Seal(whole=True, own=False)
    (tmp_path / "other").mkdir()
    seal(tmp_path / "other")  # somebody has a key from now on
    assert examine(folder) == Seal(whole=True, own=False)


def test_a_changed_file_under_a_new_digest_is_not_own(folder):
    kept = json.loads((folder / "seal.json").read_text())
    (folder / "deep" / "weights").write_bytes(b"evil")
    assert examine(folder) == Seal(whole=False, own=False)
    entries = [["directory", "deep"], ["file", "deep/weights", hashlib.sha256(b"evil").hexdigest()]]
    total = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    (folder / "seal.json").write_text(json.dumps({**kept, "sha256": total}))
    assert examine(folder) == Seal(whole=True, own=False)


def test_no_name_can_imitate_an_entry(tmp_path, home):
    """Names and hashes were joined as text: one file's name could look like the entry of another."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "a").write_bytes(b"1")
    (one / "b").write_bytes(b"2")
    hashes = [hashlib.sha256(content).hexdigest() for content in (b"1", b"2")]
    (two / f"a\n{hashes[1]} b").write_bytes(b"1")  # the old digest of both was the same
    seal(one)
    (two / "seal.json").write_text((one / "seal.json").read_text())
    assert examine(one) == Seal(whole=True, own=True)
    assert examine(two) == Seal(whole=False, own=False)
    with pytest.raises(ValueError, match="control characters"):
        seal(two)


def test_an_empty_directory_more_or_less_is_damage(folder):
    (folder / "empty").mkdir()
    assert not examine(folder).whole


@pytest.mark.parametrize("kind", ["file link", "directory link", "pipe", "socket"])
def test_links_and_special_files_are_no_part_of_a_whole_folder(folder, tmp_path, kind):
    path = folder / "deep" / "other"
    (tmp_path / "elsewhere").mkdir()
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
            server.bind("other")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(folder / "deep" / "weights" if kind == "file link" else tmp_path / "elsewhere")
    assert examine(folder) == Seal(whole=False, own=False)
    with pytest.raises((OSError, ValueError)):
        seal(folder)


def test_a_file_replaced_by_a_link_to_the_same_content_is_not_whole(folder, tmp_path):
    os.rename(folder / "deep" / "weights", tmp_path / "weights")
    (folder / "deep" / "weights").symlink_to(tmp_path / "weights")
    assert not examine(folder).whole


def test_a_seal_of_the_version_before_proves_nothing(folder):
    (folder / "seal.json").write_text(json.dumps({"sha256": "0" * 64, "hmac": "0" * 64}))
    assert examine(folder) == Seal(whole=True, own=False)


def test_a_seal_serves_one_purpose_only(folder):
    """What is signed as a pair of files is not taken for a sealed checkpoint."""
    (folder / "seal.json").unlink()
    sign_files(folder, ["deep/weights"], "seal.json")
    assert examine_files(folder, ["deep/weights"], "seal.json") == Seal(whole=True, own=True)
    assert not examine(folder).own


def test_signed_files_may_lie_beside_others(folder):
    sign_files(folder, ["deep/weights"], "weights.json")
    (folder / "other").write_text("")
    assert examine_files(folder, ["deep/weights"], "weights.json") == Seal(whole=True, own=True)
    (folder / "deep" / "weights").write_bytes(b"evil")
    assert examine_files(folder, ["deep/weights"], "weights.json") == Seal(whole=False, own=False)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_of_another_size_gives_way_to_a_new_one(folder, home, content):
    key = home / "synrl_ray" / "checkpoint.key"
    key.write_bytes(content)
    assert not examine(folder).own
    seal(folder)
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert examine(folder).own


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o620, 0o644])
def test_a_key_that_others_can_write_or_read_is_refused(folder, home, mode):
    (home / "synrl_ray" / "checkpoint.key").chmod(mode)
    for action in (seal, examine):
        with pytest.raises(UserError, match="can be read or written by others") as caught:
            action(folder)
        assert "delete it" in str(caught.value)


def test_the_keys_folder_may_be_a_link(folder, home):
    """As those are whom a manager of dotfiles has made: no key could be made, and drafts of it were left."""
    (home.parent / "dotfiles").mkdir()
    shutil.rmtree(home)
    home.mkdir()
    (home / "synrl_ray").symlink_to(home.parent / "dotfiles")
    seal(folder)
    assert examine(folder).own
    assert [path.name for path in (home.parent / "dotfiles").iterdir()] == ["checkpoint.key"]


def test_a_key_may_be_named(folder, tmp_path, monkeypatch):
    """As a Secret is mounted: a link to a file that the group may read."""
    (tmp_path / "secret").write_bytes(b"k" * 32)
    (tmp_path / "secret").chmod(0o440)
    (tmp_path / "key").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("SYNRL_SEAL_KEY", str(tmp_path / "key"))
    assert not examine(folder).own
    seal(folder)
    assert examine(folder).own
    (tmp_path / "secret").chmod(0o666)
    with pytest.raises(UserError, match="can be written by others"):
        seal(folder)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "secret").write_bytes(b"")
    with pytest.raises(UserError, match="holds no key of 32 bytes"):
        seal(folder)
    monkeypatch.setenv("SYNRL_SEAL_KEY", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="cannot be read"):
        examine(folder)


def test_a_renamed_file_is_damage(folder):
    os.rename(folder / "deep" / "weights", folder / "weights")
    assert not examine(folder).whole


def test_without_a_home_nothing_is_own(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    (tmp_path / "sealed").mkdir()
    seal(tmp_path / "sealed")
    assert examine(tmp_path / "sealed") == Seal(whole=True, own=False)
    assert "Not a directory" in why_no_key()


def test_a_user_without_a_home_gets_a_reason_and_no_traceback(folder, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(no_home))
    seal(folder)
    assert examine(folder) == Seal(whole=True, own=False)
    assert why_no_key() == "Could not determine home directory."


def stranger_run(tmp_path, monkeypatch, experiment="cartpole-ppo"):
    """A run folder whose checkpoint executes something when it is loaded, sealed by its maker."""
    spec = RunSpec(experiment=get_experiment(experiment), policy="spiking", seed=0, num_workers=0)
    run = RunFolder.create(tmp_path / "run", spec)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "stranger"))

        def write(path):
            path.mkdir()
            (path / "algorithm_state.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
            (path / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "executed")))

        run.save_checkpoint(write, Position(iteration=1, steps=2048))
    return run, spec


def test_a_strangers_checkpoint_is_refused_before_anything_of_it_is_loaded(tmp_path, monkeypatch, home, capsys):
    run, spec = stranger_run(tmp_path, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--resume", str(run.path)])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "was not made by you on this machine" in line
    assert "--trust" in line
    with pytest.raises(UserError, match="pickles"):
        require_resumable(run, kind_of(spec.experiment), trust=False)
    assert not (tmp_path / "executed").exists()


def test_plain_tensors_need_no_trust(tmp_path, monkeypatch, home):
    run, spec = stranger_run(tmp_path, monkeypatch, experiment="sinusoid-maml")
    require_resumable(run, kind_of(spec.experiment), trust=False)


def test_a_home_that_keeps_no_modes_has_no_key_and_says_so(tmp_path, monkeypatch, home):
    """It was refused as open to others, with the advice to delete it, at each start anew."""
    create = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777, **rest: create(path, flags, 0o777, **rest))
    before = os.umask(0)
    try:
        assert "no key can be written" in why_no_key()
        assert "no key can be written" in why_no_key(), "nothing is left that would be refused"
    finally:
        os.umask(before)


def test_a_home_without_hard_links_has_a_key(tmp_path, monkeypatch, home):
    def refuse(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert why_no_key() is None
    (tmp_path / "sealed").mkdir()
    seal(tmp_path / "sealed")
    assert examine(tmp_path / "sealed").own
