"""The data folder, and fetching: ``urlopen`` is replaced in every test, nothing leaves the machine."""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from synrl_ray.data import location
from synrl_ray.data.location import data_folder, fetch, md5
from synrl_ray.errors import UserError

FIRST, SECOND = "https://first.invalid/f", "https://second.invalid/f"


class Response:
    def __init__(self, content):
        self.content = content

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def read(self, most=-1):
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@pytest.fixture
def web(monkeypatch):
    """Maps addresses to what they serve: bytes, or an exception; keeps what was asked for."""
    served, asked = {}, []

    def open_url(url, timeout):
        asked.append(url)
        assert 0 < timeout <= 60
        content = served.get(url, urllib.error.URLError("no network in tests"))
        if isinstance(content, OSError):
            raise content
        return Response(content)

    monkeypatch.setattr(urllib.request, "urlopen", open_url)
    served["asked"] = asked
    return served


def is_good(content):
    return content.startswith(b"good")


def error_line(path, urls=(FIRST,)):
    with pytest.raises(UserError) as caught:
        fetch(path, urls, is_good)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_data_folder_is_the_named_one(monkeypatch):
    monkeypatch.setenv("SYNRL_DATA", "some/folder")
    assert data_folder() == Path("some/folder")


@pytest.mark.parametrize("value", [None, ""])
def test_data_folder_is_the_cache_where_none_is_named(monkeypatch, tmp_path, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SYNRL_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("SYNRL_DATA", value)
    assert data_folder() == tmp_path / ".cache" / "synrl_ray"


def test_md5_is_that_of_rfc_1321():
    assert md5(b"") == "d41d8cd98f00b204e9800998ecf8427e"
    assert md5(b"abc") == "900150983cd24fb0d6963f7d28e17f72"


def test_file_at_hand_is_read_without_the_network(tmp_path, web):
    (tmp_path / "file").write_bytes(b"good")
    assert fetch(tmp_path / "file", [FIRST], is_good) == b"good"
    assert web["asked"] == []


def test_damaged_file_at_hand_is_named_and_not_replaced(tmp_path, web):
    web[FIRST] = b"good"
    (tmp_path / "file").write_bytes(b"bad")
    assert error_line(tmp_path / "file").startswith(f"data file {tmp_path / 'file'} is damaged (wrong checksum) — ")
    assert (tmp_path / "file").read_bytes() == b"bad"
    assert web["asked"] == []


def test_fetched_file_is_stored_whole_in_a_new_folder(tmp_path, web):
    web[FIRST] = b"good content"
    path = tmp_path / "new" / "folder" / "file"
    assert fetch(path, [FIRST, SECOND], is_good) == b"good content"
    assert web["asked"] == [FIRST]
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"good content"


def test_fetched_file_gets_its_name_only_when_it_is_complete(tmp_path, web, monkeypatch):
    def crash(descriptor):
        raise KeyboardInterrupt

    web[FIRST] = b"good content"
    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "file", [FIRST], is_good)
    assert list(tmp_path.iterdir()) == []


def test_second_address_is_tried_where_the_first_fails_or_serves_damage(tmp_path, web):
    web[SECOND] = b"good"
    assert fetch(tmp_path / "a", [FIRST, SECOND], is_good) == b"good"
    web[FIRST] = b"<html>"
    assert fetch(tmp_path / "b", [FIRST, SECOND], is_good) == b"good"
    assert web["asked"] == [FIRST, SECOND] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (urllib.error.URLError("name not known"), "name not known"),
        (urllib.error.HTTPError(FIRST, 404, "Not Found", None, None), "Not Found"),
        (TimeoutError("timed out"), "timed out"),
        (b"<html>", f"{FIRST} serves a damaged file"),
    ],
    ids=["offline", "404", "timeout", "damaged"],
)
def test_reason_of_a_failed_fetch_is_given_and_nothing_is_written(tmp_path, web, content, reason):
    web[FIRST] = content
    path = tmp_path / "new" / "file"
    assert error_line(path) == (
        f"data file {path} is not there and cannot be fetched ({reason}) — "
        "set SYNRL_DATA to a folder that has it, or connect to the internet"
    )
    assert list(tmp_path.iterdir()) == []


def test_connection_that_breaks_off_is_a_failed_fetch(tmp_path, web):
    web[FIRST] = http.client.IncompleteRead(b"goo", 1)
    assert error_line(tmp_path / "file").startswith(f"data file {tmp_path / 'file'} is not there and cannot be fetched")
    assert list(tmp_path.iterdir()) == []


def test_file_without_an_address_is_named(tmp_path):
    assert "cannot be fetched (no address is known)" in error_line(tmp_path / "file", urls=())


def test_data_folder_that_cannot_be_written_is_named(tmp_path, web):
    web[FIRST] = b"good"
    (tmp_path / "taken").write_text("a file")
    assert str(tmp_path / "taken") in error_line(tmp_path / "taken" / "file")


def test_folder_in_place_of_the_file_is_named(tmp_path, web):
    (tmp_path / "file").mkdir()
    assert str(tmp_path / "file") in error_line(tmp_path / "file")


def test_fetching_waits_for_seconds_not_for_ever():
    assert 1 <= location._TIMEOUT_SECONDS <= 60
