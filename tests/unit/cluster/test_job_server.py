"""Addresses, tokens, and what is said where nothing or something else answers."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from synrl_ray.cluster.auth_token import ensure_token, read_token, token_from_environment
from synrl_ray.cluster.job_server import free_ports, probe, resolve_address, same_server, token_for
from synrl_ray.errors import UserError


@pytest.fixture(autouse=True)
def _no_ray_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers like a job server whose token is "right"."""

    body = b'{"ray_version": "2.60.0"}'

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.send_response(401 if given is None else 200 if given == "Bearer right" else 403)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.5:9000", "http://10.0.0.5:9000"),
        ("http://cluster:9000/", "http://cluster:9000"),
        ("cluster", "http://cluster:8265"),
        ("https://cluster", "https://cluster:8265"),
    ],
)
def test_addresses(given: str, expected: str) -> None:
    assert resolve_address(given) == expected


@pytest.mark.parametrize("given", ["ray://127.0.0.1:10001", "127.0.0.1:eight", "http://", "127.0.0.1:99999"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(UserError, match="is no job server address"):
        resolve_address(given)


def test_order_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_address(None) == "http://127.0.0.1:8265"
    assert resolve_address(None, "http://127.0.0.1:9000") == "http://127.0.0.1:9000"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # a cluster, no job server
    assert resolve_address(None, "http://127.0.0.1:9000") == "http://127.0.0.1:9000"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://cluster:8265")
    assert resolve_address(None, "http://127.0.0.1:9000") == "http://cluster:8265"
    assert resolve_address("other:1", "http://127.0.0.1:9000") == "http://other:1"


def test_loopback_has_many_names() -> None:
    assert same_server("http://localhost:8265", "http://127.0.0.1:8265")
    assert not same_server("http://127.0.0.1:8266", "http://127.0.0.1:8265")
    assert not same_server("http://cluster:8265", "http://127.0.0.1:8265")


def test_token_of_the_own_head_before_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "token"
    own.write_text("own")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert token_for("http://localhost:8265", "http://127.0.0.1:8265", own) == "own"
    assert token_for("http://cluster:8265", "http://127.0.0.1:8265", own) == "other"


def test_token_from_the_places_ray_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert token_from_environment() is None
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("default\n")
    assert token_from_environment() == "default"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"cannot read the token file .*none: No such file"):
        token_from_environment()


def test_token_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"
    token = ensure_token(path)
    assert len(token) == 64
    assert ensure_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600


def test_token_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state" / "token"
    path.parent.mkdir(mode=0o755)
    path.write_text("seen by all")
    path.chmod(0o644)
    assert ensure_token(path) != "seen by all"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_no_moment_of_wider_rights(tmp_path: Path) -> None:
    """Whatever the umask leaves open, the file is created closed: nothing has to be taken back."""
    made: list[int] = []
    before, real = os.umask(0), os.open
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(os, "open", lambda *given: made.extend(given[2:]) or real(*given))
            ensure_token(tmp_path / "state" / "token")
    finally:
        os.umask(before)
    assert made == [0o600]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_rays_own_token_file_is_closed_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray itself writes it readable by all; a file that the user names is left as it is."""
    default = Path("~/.ray/auth_token").expanduser()
    default.parent.mkdir(parents=True, exist_ok=True)
    default.write_text("default")
    default.chmod(0o644)
    assert token_from_environment() == "default"
    assert default.stat().st_mode & 0o777 == 0o600
    shared = tmp_path / "shared"
    shared.write_text("ours")
    shared.chmod(0o640)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(shared))
    assert token_from_environment() == "ours"
    assert shared.stat().st_mode & 0o777 == 0o640


def test_token_file_without_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    with pytest.raises(UserError, match="is empty — delete it"):
        read_token(tmp_path / "token")
    with pytest.raises(UserError, match="cannot read the token file"):
        read_token(tmp_path)


def test_probe_returns_the_version(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # loopback goes through no proxy
    assert probe(server, "right") == "2.60.0"


def test_probe_names_what_is_wrong(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"asks for a token — set RAY_AUTH_TOKEN_PATH"):
        probe(server, None)
    with pytest.raises(UserError, match="does not accept the token"):
        probe(server, "wrong")
    for body in (b"<html>", b"[]", b"{}"):
        monkeypatch.setattr(_Server, "body", body)
        with pytest.raises(UserError, match="is no Ray job server"):
            probe(server, "right")


def test_nobody_answers_is_found_out_at_once() -> None:
    [port] = free_ports(1)
    with pytest.raises(UserError, match=rf"no Ray head answers at http://127\.0\.0\.1:{port} .*synrl head start"):
        probe(f"http://127.0.0.1:{port}", None, timeout_s=3600.0)


def test_a_silent_server_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="no Ray head answers"):
        probe(f"http://127.0.0.1:{silent.getsockname()[1]}", None, timeout_s=0.2)


def test_without_a_home_there_is_no_default_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert token_from_environment() is None
