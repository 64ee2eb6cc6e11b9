"""The head's state on disk, its messages, and ending exactly its processes; programs stand in for Ray."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from synrl_ray.cluster import head as head_module
from synrl_ray.cluster import processes
from synrl_ray.cluster.head import Head, environment_for, head_environment, running_head, start_head, stop_head
from synrl_ray.cluster.job_server import free_ports
from synrl_ray.errors import UserError

SLEEP = (
    "import subprocess, sys, time; subprocess.Popen(['sleep', '60']) if 'with-child' in sys.argv else 0; time.sleep(60)"
)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child, whose command line names a session directory, as a head's does."""
    session = tmp_path / "session"
    session.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SLEEP, str(session), "with-child"])
    while len(processes.tree(process.pid)) < 2:
        pass
    yield process
    process.kill()
    process.wait()


def record(state_dir: Path, stand_in: subprocess.Popen[bytes]) -> Head:
    head = Head(
        address="http://127.0.0.1:9",
        gcs_address="127.0.0.1:8",
        pid=stand_in.pid,
        token_path=str(state_dir / "token"),
        temp_dir=str(state_dir / "session"),
        log_path=str(state_dir / "head.log"),
        processes=processes.tree(stand_in.pid),
    )
    (state_dir / "head.json").write_text(json.dumps(asdict(head)))
    return head


def fake_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(head_module.sys, "executable", str(program))


def test_no_head(tmp_path: Path) -> None:
    assert running_head(tmp_path) is None
    with pytest.raises(UserError, match=r"no Ray head was started from .*synrl head start"):
        stop_head(tmp_path)
    with pytest.raises(UserError, match="no Ray head of yours runs"):
        head_environment(tmp_path)


def test_running_head_is_read_back(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    head = record(tmp_path, stand_in)
    assert running_head(tmp_path) == head
    assert head_environment(tmp_path) == {
        "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def test_only_our_own_head_changes_the_environment(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    record(tmp_path, stand_in)
    assert environment_for("localhost:8", tmp_path)["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert environment_for("10.0.0.5:8", tmp_path) == {}
    assert environment_for("127.0.0.1:9", tmp_path) == {}
    assert environment_for("auto", tmp_path) == {}
    assert environment_for("127.0.0.1:8", tmp_path / "elsewhere") == {}


def test_starting_twice_says_what_to_do(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    record(tmp_path, stand_in)
    with pytest.raises(UserError, match=r"already runs at http://127\.0\.0\.1:9 .*synrl head stop"):
        start_head(state_dir=tmp_path)


def test_a_reused_pid_is_not_the_head(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    head = record(tmp_path, stand_in)
    state = {**asdict(head), "temp_dir": "/tmp/synrl-of-another-time"}
    state["processes"] = [(pid, started - 100) for pid, started in head.processes]
    (tmp_path / "head.json").write_text(json.dumps(state))
    assert running_head(tmp_path) is None
    stop_head(tmp_path)
    assert stand_in.poll() is None


def test_stop_ends_the_tree_and_nothing_else(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    head = record(tmp_path, stand_in)
    bystander = subprocess.Popen([sys.executable, "-c", SLEEP, "another"])
    try:
        stop_head(tmp_path)
        assert processes.alive(head.processes) == []
        assert bystander.poll() is None
        assert not (tmp_path / "session").exists()
        assert running_head(tmp_path) is None
    finally:
        bystander.kill()
        bystander.wait()


def test_what_a_killed_head_left_behind_is_ended(tmp_path: Path, stand_in: subprocess.Popen[bytes]) -> None:
    head = record(tmp_path, stand_in)
    stand_in.kill()
    stand_in.wait()
    assert len(processes.alive(head.processes)) == 1
    stop_head(tmp_path)
    assert processes.alive(head.processes) == []


def test_unreadable_state(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text('{"address": 3')
    with pytest.raises(UserError, match=r"cannot read the head's state in .*delete that file"):
        running_head(tmp_path)


def test_other_machines_do_not_reach_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reachable from other machines on 0\.0\.0\.0"):
        start_head(host="0.0.0.0", state_dir=tmp_path)


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is in use on 127\.0\.0\.1"):
            start_head(dashboard_port=port, state_dir=tmp_path)


def test_a_head_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ray(tmp_path, monkeypatch, "echo no memory for the object store; exit 3")
    with pytest.raises(UserError, match=r"(?s)ended with status 3 while it started.*no memory for the object store"):
        start_head(dashboard_port=free_ports(1)[0], state_dir=tmp_path / "state")
    assert running_head(tmp_path / "state") is None


def test_a_head_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "pid"
    fake_ray(tmp_path, monkeypatch, f"echo warming up; echo $$ > {said}; exec sleep 60")
    seconds = itertools.count(1)  # time goes by once the head has said all that it says
    clock = SimpleNamespace(
        monotonic=lambda: next(seconds) * bool(said.exists() and said.read_text()), sleep=time.sleep
    )
    monkeypatch.setattr("synrl_ray.cluster.head.time", clock)
    with pytest.raises(UserError, match=r"(?s)did not answer at http://127\.0\.0\.1:\d+ within 1 s.*warming up"):
        start_head(dashboard_port=free_ports(1)[0], state_dir=tmp_path / "state", timeout_s=1.0)
    assert processes.command_line(int(said.read_text())) == ""


def test_a_start_that_was_cut_off_can_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is on disk while the head is still starting: the starter may be killed without a chance to clean up."""
    fake_ray(tmp_path, monkeypatch, "sleep 60 # $*")
    state_dir, port = tmp_path / "state", free_ports(1)[0]

    def start() -> None:
        with pytest.raises(UserError, match="ended with status"):
            start_head(dashboard_port=port, state_dir=state_dir)

    starter = threading.Thread(target=start)
    starter.start()
    while (head := running_head(state_dir)) is None:
        time.sleep(0.01)
    stop_head(state_dir)
    starter.join()
    assert processes.alive(head.processes) == []
    assert not Path(head.temp_dir).exists()


def test_the_server_gets_token_and_interpreter_but_no_foreign_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    environment = head_module._server_environment(tmp_path / "token")
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & set(environment)


def test_who_has_no_home_has_no_head_and_is_told_where_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know, as in some containers: clusters of others are joined all the same."""

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert running_head() is None
    assert environment_for("10.0.0.1:6379") == {}
    for ask in (start_head, stop_head):
        with pytest.raises(UserError, match="you have no home folder on this machine"):
            ask()
