"""What a seal is, recomputed by hand, and whose it is."""

import hashlib
import hmac
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from synrl_ray.errors import UserError
from synrl_ray.running import seal_key as keys
from synrl_ray.running.seal import (
    Seal,
    examine,
    examine_files,
    is_own_policy,
    is_own_text,
    seal,
    sign_files,
    sign_policy,
    sign_text,
)
from synrl_ray.running.seal_key import seal_key, why_no_key

KEY = bytes(range(32))


@pytest.fixture
def key(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("SYNRL_SEAL_KEY", str(tmp_path / "key"))
    return tmp_path / "key"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("SYNRL_SEAL_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "synrl_ray" / "checkpoint.key"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sealed" / "deep").mkdir(parents=True)
    (tmp_path / "sealed" / "deep" / "b").write_bytes(b"2")
    (tmp_path / "sealed" / "a").write_bytes(b"1")
    return tmp_path / "sealed"


def signed(text, purpose):
    return hmac.new(KEY, f"synrl_ray seal 2\n{purpose}\n{text}".encode(), "sha256").hexdigest()


def digest_of(entries):
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


ONE, TWO = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
ENTRIES = [["directory", "deep"], ["file", "a", ONE], ["file", "deep/b", TWO]]


@pytest.mark.usefixtures("key")
def test_a_seal_by_hand(folder):
    seal(folder)
    digest = digest_of(ENTRIES)
    expected = {"format": 2, "sha256": digest, "hmac": signed(digest, "checkpoint")}
    assert json.loads((folder / "seal.json").read_text()) == expected
    assert examine(folder) == Seal(whole=True, own=True)


@pytest.mark.usefixtures("key")
def test_names_are_sealed_as_ascii_so_that_seals_of_before_go_on_to_hold(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "grün").write_bytes(b"1")
    seal(tmp_path / "it")
    digest = hashlib.sha256(b'[["file", "gr\\u00fcn", "' + ONE.encode() + b'"]]').hexdigest()
    assert json.loads((tmp_path / "it" / "seal.json").read_text())["sha256"] == digest


@pytest.mark.usefixtures("key")
def test_a_seal_of_some_files_by_hand(folder):
    sign_files(folder, ["deep/b", "a"], "some.json")
    digest = digest_of([["file", "a", ONE], ["file", "deep/b", TWO]])
    assert json.loads((folder / "some.json").read_text())["hmac"] == signed(digest, "files")
    assert examine_files(folder, ["a", "deep/b"], "some.json") == Seal(whole=True, own=True)
    assert examine_files(folder, ["a"], "some.json") == Seal(whole=False, own=False)


@pytest.mark.usefixtures("key")
def test_what_is_only_copied_is_whole_and_nobodys_own(folder):
    seal(folder, own=False)
    assert json.loads((folder / "seal.json").read_text())["hmac"] is None
    assert examine(folder) == Seal(whole=True, own=False)


@pytest.mark.usefixtures("key")
def test_a_folder_without_a_seal_is_taken_for_whole_and_is_nobodys_own(folder):
    assert examine(folder) == Seal(whole=True, own=False)


@pytest.mark.usefixtures("key")
def test_only_the_seal_itself_is_left_out_and_not_another_file_of_its_name(folder):
    (folder / "deep" / "seal.json").write_text("1")
    seal(folder)
    (folder / "deep" / "seal.json").write_text("2")
    assert not examine(folder).whole


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b"{}", b'{"sha256": "a"}', b'{"hmac": "a"}', b"[" * 4000, b"\xff"],
    ids=["empty", "cut", "list", "number", "without", "no hmac", "no digest", "deep", "no text"],
)
def test_a_seal_that_cannot_be_read_is_damage(folder, content):
    seal(folder)
    (folder / "seal.json").write_bytes(content)
    assert examine(folder) == Seal(whole=False, own=False)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(("size", "whole"), [(4096, True), (4097, False)])
def test_a_seal_is_read_up_to_its_bound(folder, size, whole):
    seal(folder)
    content = (folder / "seal.json").read_text()
    (folder / "seal.json").write_text(content + " " * (size - len(content)))
    assert examine(folder) == Seal(whole=whole, own=whole)


@pytest.mark.usefixtures("key")
def test_a_folder_that_cannot_be_listed_is_not_whole(folder, monkeypatch):
    seal(folder)
    scan = os.scandir

    def refused(path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert examine(folder) == Seal(whole=False, own=False)
    with pytest.raises(PermissionError):
        seal(folder)


@pytest.mark.usefixtures("key")
def test_a_text_is_its_signers_for_one_purpose():
    signature = sign_text("place", "s3://bucket")
    assert signature == signed("s3://bucket", "place")
    assert is_own_text("place", "s3://bucket", signature)
    for purpose, text, given in [
        ("other", "s3://bucket", signature),
        ("place", "s3://other", signature),
        ("place", "s3://bucket", signature[:-1]),
        ("place", "s3://bucket", None),
        ("place", "s3://bucket", 5),
        ("place", "s3://bucket", "grün \ud800"),
    ]:
        assert not is_own_text(purpose, text, given)


def test_without_a_key_nothing_is_signed_and_nothing_is_own(home, monkeypatch):
    home.parent.parent.write_text("a file where the folder would be")
    assert sign_text("place", "text") is None
    assert not is_own_text("place", "text", signed("text", "place"))


@pytest.mark.usefixtures("key")
def test_a_policy_is_own_until_one_of_its_two_files_changes(tmp_path):
    for name in ("policy.json", "policy.safetensors"):
        (tmp_path / name).write_text(name)
    assert not is_own_policy(tmp_path)
    sign_policy(tmp_path)
    assert (tmp_path / "policy.seal.json").is_file()
    assert is_own_policy(tmp_path)
    (tmp_path / "other").write_text("beside")
    assert is_own_policy(tmp_path)
    (tmp_path / "policy.safetensors").write_text("changed")
    assert not is_own_policy(tmp_path)


def test_a_key_is_made_only_where_one_is_to_be(home):
    assert seal_key(create=False) is None
    assert not home.exists()
    made = seal_key(create=True)
    assert len(made) == 32
    assert home.read_bytes() == made == seal_key(create=True) == seal_key(create=False)
    assert why_no_key() is None


def test_the_key_and_its_folder_are_the_users_alone(home):
    before = os.umask(0)
    try:
        seal_key(create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700


def test_without_xdg_the_key_lies_in_the_homes_config(tmp_path, home, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path / "user"))
    seal_key(create=True)
    assert (tmp_path / "user" / ".config" / "synrl_ray" / "checkpoint.key").is_file()


@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001])
def test_a_key_that_others_can_touch_in_any_way_is_refused(home, bit):
    seal_key(create=True)
    home.chmod(0o600 | bit)
    with pytest.raises(UserError, match="can be read or written by others — delete it"):
        seal_key(create=False)


@pytest.mark.parametrize(("owner", "accepted"), [(4242, True), (0, True), (1, False), (4243, False)])
def test_a_key_is_the_users_or_roots(home, monkeypatch, owner, accepted):
    made = seal_key(create=True)
    status = SimpleNamespace(st_uid=owner, st_mode=stat.S_IFREG | 0o600)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4242)
        patch.setattr(os, "fstat", lambda handle: status)
        try:
            found = seal_key(create=False)
        except UserError as error:
            found = str(error)
    if accepted:
        assert found == made
    else:
        assert "can be read or written by others" in found


@pytest.mark.parametrize(("mode", "accepted"), [(0o600, True), (0o444, True), (0o620, False), (0o602, False)])
def test_a_named_key_may_be_read_by_others_and_not_written(key, mode, accepted):
    key.chmod(mode)
    if accepted:
        assert seal_key(create=True) == seal_key(create=False) == KEY
    else:
        with pytest.raises(UserError, match="can be written by others — let SYNRL_SEAL_KEY name"):
            seal_key(create=False)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_named_key_has_32_bytes(key, size):
    key.write_bytes(b"k" * size)
    with pytest.raises(UserError, match=r"holds no key of 32 bytes — .* a file of 32 random bytes, or unset it"):
        seal_key(create=True)


def test_of_several_processes_the_first_key_is_the_key(home, monkeypatch):
    first = b"f" * 32

    def beaten(path, content, *, mode):
        path.write_bytes(first)
        path.chmod(0o600)
        raise FileExistsError

    monkeypatch.setattr(keys, "write_new", beaten)
    assert seal_key(create=True) == first


def test_why_there_is_no_key_names_the_folder_or_the_systems_reason(home, monkeypatch):
    monkeypatch.setattr(keys, "_made_key", lambda path: None)
    assert why_no_key() == f"no key can be written in {home.parent}"
    home.parent.rmdir()
    home.parent.parent.rmdir()
    home.parent.parent.write_text("in the way")
    assert "Not a directory" in why_no_key()


def test_the_folder_that_is_tried_for_a_key_is_the_users_alone_too(home, monkeypatch):
    monkeypatch.setattr(keys, "_made_key", lambda path: None)
    before = os.umask(0)
    try:
        why_no_key()
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
