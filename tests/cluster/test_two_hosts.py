"""``ray up`` of the on-premises variant on two hosts, a job, another with one host cut off in the middle, ``ray down``.

Slow, and for root: ``make test-cluster``. The hosts have no internet, so they get this checkout's environment in place
of ``make setup``; all else is ``cluster.yaml`` as it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import Host, Hosts, ssh_options, what_is_missing

from synrl_ray.results import Result, read_result

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CLOUD_KEYS = ("max_workers", "provider", "auth", "docker", "head_node_type", "available_node_types")
STEPS = 100_000
TRAININGS = {
    "taking turns": ["cartpole-ppo"],
    "asynchronous": ["--env", "CartPole-v1", "--set", "algorithm=impala", "clip_param=0.2", "num_epochs=4"],
}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


class Cluster:
    """Two hosts, the cluster's file, and commands as its user gives them."""

    def __init__(self, head: Host, worker: Host, key: Path, base: Path) -> None:
        self.head, self.worker, self.key, self.base = head, worker, key, base
        self.file = base / "cluster.yaml"
        home = base / "user"
        home.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SYNRL_"))},
            "HOME": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_UP_enable_autoscaler_v2": "0",
        }

    def write_file(self) -> None:
        """``cluster.yaml`` with its on-premises variant, and the addresses of the two hosts."""
        text = (REPOSITORY / "cluster.yaml").read_text()
        match = re.search(r"^# --- on premises\n(.*?)^# --- end$", text, re.MULTILINE | re.DOTALL)
        assert match is not None
        config = {key: value for key, value in yaml.safe_load(text).items() if key not in CLOUD_KEYS}
        config |= yaml.safe_load(re.sub(r"^# ", "", match.group(1), flags=re.MULTILINE))
        config["provider"] |= {"head_ip": self.head.address, "worker_ips": [self.worker.address]}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.key)}
        config |= {"min_workers": 1, "max_workers": 1, "head_setup_commands": []}
        assert config["setup_commands"][1] == "cd ~/synrl_ray && make setup"
        config["setup_commands"][1] = f"ln -sfn {BIN.parent} ~/synrl_ray/.venv"
        self.file.write_text(yaml.safe_dump(config))

    def run(self, *command: str, timeout: float = 600) -> str:
        """A command of the user; its output."""
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        shown = " ".join(command).replace(str(self.file), "cluster.yaml")
        print(f"$ {shown}   [{time.monotonic() - began:.0f} s]")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def wait_for_nodes(self, number: int, seconds: float) -> None:
        """Until that many nodes are there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.run("ray", "exec", str(self.file), "ray status")
            if sum(map(int, re.findall(r"^ (\d+) (?:node_|local\.cluster\.node)", status, re.MULTILINE))) >= number:
                return
            time.sleep(3)
        log = self.run("ray", "exec", str(self.file), "tail -n 60 /tmp/ray/session_latest/logs/monitor*")
        raise AssertionError(f"no {number} nodes after {seconds} s:\n{status}\n{log}")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    reason = what_is_missing()
    if reason is not None:
        pytest.skip(f"no hosts can be made here: {reason}")
    base = Path(tempfile.mkdtemp(prefix="synrl-cluster-", dir="/var/tmp"))
    hosts = Hosts(["synrl-head", "synrl-worker"], base)
    try:
        with hosts as (head, worker):
            made = Cluster(head, worker, hosts.key, base)
            made.write_file()
            made.run("ray", "get-auth-token", "--generate")
            made.run("ray", "up", "-y", "--no-config-cache", str(made.file))
            made.wait_for_nodes(2, 180)
            yield made
            made.run("ray", "down", "-y", str(made.file))
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def job_server(cluster: Cluster) -> Iterator[str]:
    """An SSH tunnel to the head's job server, as ``ray dashboard`` makes one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = ["-N", "-L", f"127.0.0.1:{port}:127.0.0.1:8265", f"root@{cluster.head.address}"]
    tunnel = subprocess.Popen(["ssh", "-i", str(cluster.key), *ssh_options(), *target])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        tunnel.send_signal(signal.SIGTERM)
        tunnel.wait()


def _submit(cluster: Cluster, job_server: str, training: str, name: str) -> tuple[subprocess.Popen[str], Path]:
    """Train with two env runners; the run's folder lies on the head."""
    run = cluster.head.home / "runs" / training.replace(" ", "-") / name
    command = ["synrl", "submit", "--address", job_server, "--", "train", *TRAININGS[training], "--num-workers", "2"]
    command += ["--stop-steps", str(STEPS), "--run-dir", str(run)]
    print(f"$ {' '.join(command)}")
    log = (cluster.base / f"{name}.log").open("w")
    return subprocess.Popen(command, cwd=REPOSITORY, env=cluster.environment, stdout=log, stderr=log, text=True), run


def _rows(run: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    except (FileNotFoundError, ValueError):
        return []


def _has_env_runner(host: Host) -> bool:
    """Whether one of our env runners is a process of that host."""
    processes = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True).stdout.split()
    names = [
        Path(f"/proc/{process}/cmdline").read_bytes() for process in processes if Path(f"/proc/{process}").exists()
    ]
    return any(b"EnvRunner" in name for name in names)


def _goes_on(row: dict[str, Any], steps: int, training: str) -> bool:
    """Whether a run has got over the loss of a host after so many steps.

    Both env runners sample again where the one that is lost finds a core; the learner has that one otherwise.
    """
    restarted: int = row["runner_restarts"]
    return restarted >= 1 if training == "taking turns" else row["env_steps"] >= steps + 2000


def _finished(cluster: Cluster, job: subprocess.Popen[str], run: Path) -> Result:
    job.wait(timeout=900)
    log = (cluster.base / f"{run.name}.log").read_text()
    assert job.returncode == 0, log[-3000:]
    result = read_result(run)
    assert result is not None
    interval, trained = result.interval("return_iqm"), result.training[0]
    assert interval is not None
    rows = _rows(run)
    print(
        f"{run.name}: {trained.steps:,} environment steps in {trained.wall_seconds:.0f} s, return IQM "
        f"{result.figures['return_iqm']:.1f} ({interval.low:.1f} to {interval.high:.1f}), "
        f"{rows[-1]['runner_restarts']} env runners restarted"
    )
    return result


@pytest.mark.parametrize("training", TRAININGS)
def test_a_job_on_two_hosts_and_one_that_loses_a_host(cluster: Cluster, job_server: str, training: str) -> None:
    job, run = _submit(cluster, job_server, training, "whole")
    whole = _finished(cluster, job, run)
    assert _rows(run)[-1]["runner_restarts"] == 0

    job, run = _submit(cluster, job_server, training, "cut")
    deadline = time.monotonic() + 300
    while not _rows(run) or _rows(run)[-1]["env_steps"] < STEPS // 4:
        assert job.poll() is None, (cluster.base / "cut.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert _has_env_runner(cluster.worker), "both env runners are on the head: nothing would be cut off"
    cluster.worker.unplug()
    unplugged, before = time.monotonic(), _rows(run)[-1]["env_steps"]
    while job.poll() is None and not _goes_on(_rows(run)[-1], before, training):
        time.sleep(0.2)
    waited = time.monotonic() - unplugged
    print(f"unplugged at {before:,} steps; going on after {waited:.0f} s")
    assert waited < 180, "that long it would wait for the network to tell, too"
    cut = _finished(cluster, job, run)
    assert _goes_on(_rows(run)[-1], before, training)
    assert cut.training[0].steps >= STEPS
    of_cut, of_whole = cut.interval("return_iqm"), whole.interval("return_iqm")
    assert of_cut.low <= of_whole.high
    assert of_whole.low <= of_cut.high
