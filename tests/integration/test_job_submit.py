"""A head on loopback from start to end: jobs through `ray job submit` and through this project's client."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command

from synrl_ray.cluster import (
    Head,
    environment_for,
    follow_job,
    head_environment,
    running_head,
    start_head,
    stop_head,
    submit_job,
)
from synrl_ray.cluster.job_server import free_ports
from synrl_ray.cluster.package import DEFAULT_SIZE_LIMIT
from synrl_ray.cluster.processes import alive, command_line, tree
from synrl_ray.cluster.submit import TERMINAL, JobOutcome, _client
from synrl_ray.errors import UserError
from synrl_ray.running.run_folder import RunFolder

pytestmark = pytest.mark.ray
REPOSITORY = Path(__file__).parents[2]

SECRET, STARTED = secrets.token_hex(16), time.time()
TRAIN_STEPS = 2000
TRAIN = ("train", "cartpole-ppo", "--policy", "ann")
"""Without spiking kernels, which would be compiled anew: what is shipped has none."""
SMALL = ("ann.hidden_sizes=16,16", "interval_steps=2048", "interim_episodes=2", "evaluation.episodes=5")


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="h-") as short:
        yield Path(short) / "state"


@pytest.fixture(scope="module")
def head(state_dir: Path) -> Iterator[Head]:
    started = start_head(
        num_cpus=2, dashboard_port=free_ports(1)[0], state_dir=state_dir, object_store_memory=100_000_000
    )
    yield started
    if running_head(state_dir):
        stop_head(state_dir)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with the things beside it that a working copy gathers and no job needs."""
    copy = tmp_path_factory.mktemp("project")
    for name, others in {"synrl_ray": (), "experiments": ("results",)}.items():
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", *others))
    for name in ("pyproject.toml", ".gitignore", ".rayignore"):
        shutil.copy(REPOSITORY / name, copy / name)
    for secret in (".env", "synrl_ray/key.pem", ".ssh/id_ed25519"):
        (copy / secret).parent.mkdir(exist_ok=True)
        (copy / secret).write_text(SECRET)
    for decoy in (".venv/lib/torch.so", "runs/a/video.mp4", "tests/data.bin", "experiments/results/a.bin"):
        (copy / decoy).parent.mkdir(parents=True, exist_ok=True)
        (copy / decoy).write_bytes(b"x" * DEFAULT_SIZE_LIMIT)
    return copy


def shipped(head: Head) -> list[Path]:
    """Return the directories that Ray unpacked for the jobs so far; the same content has the same name."""
    return [path for path in Path(head.temp_dir).glob("ray/session_2*/**/_ray_pkg_*") if path.is_dir()]


def test_head_keeps_to_itself(head: Head, state_dir: Path) -> None:
    assert running_head(state_dir) == head
    assert Path(head.token_path).stat().st_mode & 0o777 == 0o600
    assert Path(head.temp_dir).stat().st_mode & 0o777 == 0o700, "Ray's own folder, which all may write, lies below"
    with pytest.raises(UserError, match="already runs"):
        start_head(state_dir=state_dir)
    if Path("/proc/net/tcp").exists():
        import psutil

        sockets = [
            connection.laddr.ip
            for pid, _ in tree(head.pid)
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert sockets
        assert {ip.removeprefix("::ffff:") for ip in sockets} == {"127.0.0.1"}


def test_plain_ray_job_submit_ships_little(head: Head, state_dir: Path, project: Path) -> None:
    code = "import sys, synrl_ray; print('code:', synrl_ray.__file__, 'interpreter:', sys.prefix)"
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", "."]
    finished = subprocess.run(
        [*command, "--", "python", "-c", code],
        cwd=project,
        env={**os.environ, **head_environment(state_dir)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    [directory] = shipped(head)
    assert f"code: {directory}/synrl_ray/__init__.py interpreter: {sys.prefix}" in finished.stdout
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) < DEFAULT_SIZE_LIMIT
    top = {path.name for path in directory.iterdir() if any(path.iterdir() if path.is_dir() else [1])}
    assert top - {"__pycache__"} == {"synrl_ray", "experiments", "pyproject.toml", ".gitignore", ".rayignore"}


def wait_for(path: Path, job: JobOutcome, head: Head) -> None:
    """Wait until a job has written a file; one that ends before that fails the test."""
    with _client(head.address, Path(head.token_path).read_text()) as client:
        while not path.exists():
            assert client.get_job_status(job.job_id) not in TERMINAL, client.get_job_logs(job.job_id)
            time.sleep(0.2)


def test_variables_of_a_job_are_no_other_users(head: Head, state_dir: Path, project: Path, tmp_path: Path) -> None:
    """They stand in no process's arguments, and in no file outside of the folders that are closed to others.

    Whoever has the head's token may ask the job server for them: that is why ``--env`` is not for secrets.
    """
    began, end = tmp_path / "began", tmp_path / "end"
    code = (
        "import os, pathlib, ray, sys, time; began, end = map(pathlib.Path, sys.argv[1:]); ray.init()\n"
        "seen = ray.get(ray.remote(lambda: os.environ['CANARY']).remote()); began.write_text(str(len(seen)))\n"
        "while not end.exists(): time.sleep(0.1)"
    )
    job = {"entrypoint": [sys.executable, "-c", code], "working_dir": project, "state_dir": state_dir}
    variables = {"CANARY": SECRET}
    outcome = submit_job([str(began), str(end)], follow=False, env_vars=variables, **job)
    wait_for(began, outcome, head)
    assert began.read_text() == str(len(SECRET)), "the job's workers have it"
    assert [pid for pid, _ in tree(head.pid) if SECRET in command_line(pid)] == []
    folders = [Path(head.temp_dir), state_dir]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700, 0o700]
    places = {path for folder in (Path(tempfile.gettempdir()), Path("/dev/shm")) for path in holding(SECRET, folder)}
    assert {path for path in places if not any(path.is_relative_to(folder) for folder in folders)} <= set(
        holding(SECRET, project)
    )
    end.touch()
    assert follow_job(outcome.job_id, state_dir=state_dir).status == "SUCCEEDED"


def holding(text: str, *folders: Path) -> list[Path]:
    """Return the files below the folders that hold a text which is as young as this process."""
    found = []
    # Not rglob, which does not bear that a folder of another process goes away.
    for path in (Path(place, name) for folder in folders for place, _, names in os.walk(folder) for name in names):
        with contextlib.suppress(OSError):
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_ctime >= STARTED and text.encode() in path.read_bytes():
                found.append(path)
    return found


def test_a_program_joins_with_the_heads_environment(head: Head, state_dir: Path) -> None:
    code = f"import ray; ray.init(address={head.gcs_address!r}); print('CPUs:', ray.cluster_resources()['CPU'])"
    environment = {**os.environ, **environment_for(head.gcs_address, state_dir)}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "CPUs: 2.0" in finished.stdout, finished.stderr


def test_a_failing_job_tells_why_and_secret_files_stay_here(
    head: Head, state_dir: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = submit_job(["train", "cartpole-ppp"], working_dir=project, state_dir=state_dir)
    out, err = capsys.readouterr()
    assert (outcome.status, outcome.exit_status) == ("FAILED", 2)
    [line] = [line for line in out.splitlines() if "cartpole-ppp" in line and "Running entrypoint" not in line]
    assert line.startswith("synrl: unknown experiment 'cartpole-ppp' — did you mean cartpole-ppo")
    assert "Traceback" not in out
    assert f"job {outcome.job_id} failed with status 2" in err
    assert "not sent: .env, .ssh, synrl_ray/key.pem (may hold secrets)\n" in err
    assert holding(SECRET, *shipped(head)) == []


def test_train(head: Head, state_dir: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    arguments = [*TRAIN, "--stop-steps", str(TRAIN_STEPS), "--run-dir", str(run_dir), "--set", *SMALL]
    outcome = submit_job(arguments, working_dir=project, state_dir=state_dir)
    log = capsys.readouterr().out
    assert outcome.exit_status == 0, log
    assert outcome.package_size is not None
    assert outcome.package_size < DEFAULT_SIZE_LIMIT
    assert len(shipped(head)) == 1, "the project's client and Ray's own ship the same"
    result = json.loads((run_dir / "result.json").read_text())
    assert result["experiment"] == "cartpole-ppo"
    assert result["training"][0]["steps"] >= TRAIN_STEPS


def test_a_stopped_job_leaves_a_run_that_goes_on(
    head: Head, state_dir: Path, project: Path, tmp_path: Path, warm_python: str
) -> None:
    run_dir = tmp_path / "run"
    arguments = [*TRAIN, "--stop-steps", "1000000", "--run-dir", str(run_dir), "--set", *SMALL]
    outcome = submit_job(arguments, working_dir=project, state_dir=state_dir, follow=False)
    position = run_dir / "checkpoint" / "position.json"
    wait_for(position, outcome, head)

    variables = environment_for(head.gcs_address, state_dir)
    stop = [sys.executable, "-m", "ray.scripts.scripts", "job", "stop", "--address", head.address, outcome.job_id]
    stopped = subprocess.run(stop, env={**os.environ, **variables}, capture_output=True, text=True)
    assert "was stopped" in stopped.stdout + stopped.stderr, stopped.stderr
    at = json.loads(position.read_text())["steps"]
    assert RunFolder(run_dir).result() is None
    assert RunFolder(run_dir).metrics()[-1]["env_steps"] == at, "the iteration that was under way is kept"

    resume = ["train", "--resume", str(run_dir), "--stop-steps", str(at + TRAIN_STEPS), "--json"]
    output, _ = Command(*resume, python=warm_python, RAY_ADDRESS=head.gcs_address, **variables).end()
    assert json.loads(output)["training"][0]["steps"] >= at + TRAIN_STEPS


def test_stop_leaves_nothing(head: Head, state_dir: Path) -> None:
    members = tree(head.pid)
    assert len(members) > 5
    stop_head(state_dir)
    assert alive([*members, *head.processes]) == []
    assert running_head(state_dir) is None
    assert not Path(head.temp_dir).exists()
    with pytest.raises(UserError, match="no Ray head answers"):
        submit_job(["list"], address=head.address, working_dir=REPOSITORY, state_dir=state_dir)
