"""Every socket that a local Ray opens is bound to loopback, and its files are closed to other users."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from warm_python import STANDS_FOR

from synrl_ray.cluster import processes
from synrl_ray.cluster.job_server import free_ports

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets of other processes are read from /proc"),
]

ACTORS = """
import json, os, ray, sys
from pathlib import Path
from synrl_ray.running.ray_session import ray_session
sys.executable = os.environ["PYTHON"]  # of workers
if "imported before" in sys.argv:
    import ray._private.services
for _ in range(1 + ("twice" in sys.argv)):
    with ray_session(None, num_workers=2):
        @ray.remote
        class Actor:
            def ping(self): return 1
        actors = [Actor.remote() for _ in range(2)]
        assert ray.get([actor.ping.remote() for actor in actors]) == [1, 1]
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        print(json.dumps([path.stat().st_mode & 0o777 for path in (token, token.parent)]), flush=True)
        sys.stdin.readline()
print(json.dumps({n: v for n, v in os.environ.items() if n.startswith("RAY_AUTH") or "CLUSTER" in n}))
"""
TOKEN_MODES = f"[{0o600}, {0o700}]\n"  # of the file and of its folder
SMALL = ("spiking.hidden_sizes=16,16", "interval_steps=2048", "train_batch_size=1024", "interim_episodes=1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@contextmanager
def running(
    *command: str, home: Path, python: str = sys.executable, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a program of this interpreter for the block, under a home without a token; it is ended afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), **variables}
    process = subprocess.Popen(
        [python, *command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def wait_until(true: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    while not true():
        assert process.poll() is None, f"the program ended with status {process.returncode}"
        time.sleep(0.1)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All processes of the program; those that were forked for it are children of another one."""
    found = [psutil.Process(process.pid)]
    for each in found:  # which grows
        with suppress(psutil.NoSuchProcess):
            found += each.children()
            if (name := each.name()).startswith(STANDS_FOR):
                found.append(psutil.Process(int(name.removeprefix(STANDS_FOR))))
    return found


def names(process: subprocess.Popen[str]) -> set[str]:
    found = set()
    for each in family(process):
        try:
            found.add(" ".join(each.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def open_sockets(process: subprocess.Popen[str]) -> list[tuple[str, str]]:
    """Return program and address of each socket that waits for others: TCP that listens, UDP, and unix ones."""
    found = []
    for each in family(process):
        try:
            program, connections = " ".join(each.cmdline())[:60], each.net_connections(kind="all")
        except psutil.NoSuchProcess:
            continue
        for one in connections:
            if one.family.name == "AF_UNIX":
                found.append((program, f"unix:{one.laddr}")) if one.laddr else None
            elif one.status == psutil.CONN_LISTEN or one.type.name == "SOCK_DGRAM":
                found.append((program, one.laddr.ip))
    return found


def require_private(process: subprocess.Popen[str]) -> list[str]:
    """Assert that nothing of the program's sockets is open to other machines or users; return the addresses."""
    sockets = open_sockets(process)
    beyond = [
        (program, address)
        for program, address in sockets
        if not address.startswith("unix:") and address.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
    ]
    assert beyond == []
    paths = {Path(address.removeprefix("unix:")) for _, address in sockets if address.startswith("unix:")}
    assert paths
    for path in paths:
        assert closed_to_others(path), path
    return [address for _, address in sockets]


def closed_to_others(path: Path) -> bool:
    """Return whether a folder on the way to ``path`` belongs to this user and lets nobody else through."""
    for folder in path.parents:
        state = folder.stat()
        if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) & 0o077 == 0:
            return True
    return False


def test_sessions_are_private_and_leave_nothing_and_what_a_killed_one_left_is_removed_by_the_next(
    home: Path, tmp_path: Path, warm_python: str
) -> None:
    place = {"RAY_TMPDIR": str(tmp_path)} if len(os.fsencode(tmp_path)) < 20 else {}
    place["PYTHON"] = warm_python
    with running("-c", ACTORS, home=home, **place) as process:
        left = require_ready(process)
        process.kill()
        process.wait()
    while processes.naming(f"{left}/"):  # Ray's own processes end once they find that their driver is gone
        time.sleep(0.1)
    assert left.exists()
    with running("-c", ACTORS, "imported before", "twice", home=home, **place) as process:
        own = []
        for _ in range(2):
            own.append(require_ready(process))
            assert not left.exists()
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {}, "another session or cluster later is not touched"
        assert process.wait() == 0
    assert len({left, *own}) == 3
    assert [path for path in own if path.exists()] == []
    assert not (home / ".ray").exists(), "Ray's own token file is readable by all"


def require_ready(process: subprocess.Popen[str]) -> Path:
    """Wait for a session with actors, assert that it is private, and return the folder of its sockets."""
    assert process.stdout is not None
    assert process.stdout.readline() == TOKEN_MODES
    addresses = require_private(process)
    assert len([a for a in addresses if not a.startswith("unix:")]) >= 8
    [path] = {Path(address[5:]).parents[3] for address in addresses if address.endswith("/raylet")}
    return path


def test_training_with_env_runners_and_learners(home: Path, tmp_path: Path, warm_python: str) -> None:
    run = tmp_path / "run"
    command = ["train", "cartpole-ppo", "--num-workers", "2", "--num-learners", "2", "--run-dir", str(run)]
    with running("-m", "synrl_ray", *command, "--set", *SMALL, home=home, python=warm_python) as process:
        metrics = run / "metrics.jsonl"
        wait_until(lambda: metrics.exists() and metrics.read_text().count("\n"), process)
        programs = names(process)
        assert any("EnvRunner" in name for name in programs)
        assert any("_WrappedExecutable" in name for name in programs), "learners in processes of their own"
        require_private(process)


def test_search(home: Path, tmp_path: Path, warm_python: str) -> None:
    study = tmp_path / "study"
    command = ["tune", "cartpole-ppo", "--samples", "1", "--run-dir", str(study), "--set", *SMALL]
    with running("-m", "synrl_ray", *command, home=home, python=warm_python) as process:
        wait_until(lambda: any(path.stat().st_size for path in study.glob("trials/*/metrics.jsonl")), process)
        require_private(process)


def outer_address() -> str | None:
    """Return the address under which other machines know this one, if it has one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.skipif(outer_address() is None, reason="this machine has no address that others could know")
def test_a_cluster_of_several_hosts_is_joined_whatever_a_head_of_ours_left_behind(home: Path) -> None:
    """Its nodes know one another by their outer addresses: loopback must not reach it."""
    port, token = free_ports(1)[0], {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
    start = ("-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=3")
    join = (
        "import ray; from synrl_ray.running.ray_session import ray_session\n"
        f"with ray_session('{outer_address()}:{port}', num_workers=1):\n"
        "    print(ray.get_runtime_context().worker.node_ip_address, ray.nodes()[0]['NodeManagerAddress'])"
    )
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:
        parts = (f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        with running(*start, *parts, home=home, **token) as head:
            assert head.stdout is not None
            wait_until(lambda: "Ray runtime started" in head.stdout.readline(), head)
            with running("-c", join, home=home, **token, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as driver:
                output, _ = driver.communicate()
            processes.end(head.pid, processes.tree(head.pid), timeout_s=20)
    assert output.split() == [outer_address()] * 2
