"""Start and stop a Ray head of this user on this machine, bound to loopback and guarded by a token.

Ray 2.60 asks for a token by default but leaves it to the user to give head and client the same one. Here both get it
from one file in the state directory. Every port but the job server's is chosen free, so that heads with different
state directories and job-server ports live side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from synrl_ray.cluster import processes
from synrl_ray.cluster.auth_token import ensure_token
from synrl_ray.cluster.job_server import DEFAULT_PORT, free_ports, is_loopback, port_is_free, probe, same_server
from synrl_ray.cluster.private_folder import make_private_folder
from synrl_ray.cluster.private_ray import CLUSTERS, TOKEN, loopback_collectives, private_environment
from synrl_ray.commands import command
from synrl_ray.errors import UserError
from synrl_ray.files import home_folder, write_atomically

START_SECONDS = 60.0
STARTED_LINE = "Ray runtime started"
LOG_TAIL_LINES = 15
# What belongs to another head, or to a client of one, must not reach a new head.
FOREIGN_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR")


@dataclass(frozen=True)
class Head:
    """A Ray head that this project started.

    Args:
        address: URL of the job server and dashboard.
        gcs_address: what ``ray.init(address=...)`` takes.
        pid: process that ends the whole head when it is ended.
        processes: pid and start time (seconds since the epoch) of every process of the head, as last looked at.
        token_path: file with the token that clients need.
        temp_dir: private folder of the head; Ray's session directory, with its logs, lies in ``ray``.
        log_path: what the start printed.
        ready_seconds: time from the start until the job server answered.
    """

    address: str
    gcs_address: str
    pid: int
    token_path: str
    temp_dir: str
    log_path: str
    ready_seconds: float = 0.0
    processes: list[tuple[int, float]] = field(default_factory=list)


def default_state_dir() -> Path:
    """Return where the state of this user's head lies when no other place is named.

    Raises:
        UserError: if the user has no home.
    """
    return home_folder() / ".cache" / "synrl_ray" / "head"


def start_head(
    *,
    num_cpus: int | None = None,
    dashboard_port: int = DEFAULT_PORT,
    gcs_port: int | None = None,
    host: str = "127.0.0.1",
    state_dir: Path | None = None,
    object_store_memory: int | None = None,
    timeout_s: float = START_SECONDS,
) -> Head:
    """Start a Ray head and return when its job server takes jobs.

    Args:
        num_cpus: logical CPUs to offer; what the machine has by default.
        dashboard_port: port of the job server and dashboard.
        gcs_port: port that ``ray.init(address=...)`` connects to; a free one by default.
        host: a loopback name; a job server runs commands for whoever reaches it.
        state_dir: where address, pids and token are kept (mode 0700).
        object_store_memory: bytes of shared memory; 30 % of the machine's by default.
        timeout_s: how long to wait.

    Raises:
        UserError: if a head of this state directory runs already, a port is taken, or the head does not come up.
    """
    state_dir = (state_dir or default_state_dir()).expanduser().absolute()
    if not is_loopback(host):
        raise UserError(
            f"the head would be reachable from other machines on {host}",
            "leave it on 127.0.0.1 and forward the port: ssh -L 8265:127.0.0.1:8265 <machine>",
        )
    if (head := running_head(state_dir)) is not None:
        raise UserError(
            f"a Ray head of yours already runs at {head.address} (pid {head.pid})",
            f"submit to it, or end it first with `{command('head', 'stop')}`",
        )
    for port in (dashboard_port, gcs_port):
        if port is not None and not port_is_free(port, host):
            raise UserError(f"port {port} is in use on {host}", "choose another one, or end the process that holds it")
    token_path = state_dir / "token"
    token = ensure_token(token_path)
    folder = make_private_folder()
    free = free_ports(3, host)
    gcs_port = gcs_port or free[0]
    arguments = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
        *(f"--port={gcs_port}", f"--dashboard-host={host}", f"--dashboard-port={dashboard_port}"),
        *(f"--ray-client-server-port={free[1]}", f"--dashboard-agent-listen-port={free[2]}"),
        *("--min-worker-port=0", "--max-worker-port=0", "--include-dashboard=true", f"--temp-dir={folder.ray}"),
        *([f"--num-cpus={num_cpus}"] if num_cpus is not None else []),
        *([f"--object-store-memory={object_store_memory}"] if object_store_memory is not None else []),
    ]
    log_path = state_dir / "head.log"
    started = time.monotonic()
    with log_path.open("wb") as log:
        main = subprocess.Popen(
            arguments,
            env=_server_environment(token_path),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # outlives the terminal and does not hear its Ctrl-C
            pass_fds=(folder.lock,),  # the head uses its folder for as long as it lives
        )
    folder.release()
    head = Head(
        address=f"http://{host}:{dashboard_port}",
        gcs_address=f"{host}:{gcs_port}",
        pid=main.pid,
        token_path=str(token_path),
        temp_dir=str(folder.path),
        log_path=str(log_path),
    )
    with _ended_on_failure(head, state_dir):
        # Noted before it is ready: were this process killed now, `stop_head` would still find what it started.
        head = _write_state(head, state_dir)
        _wait_until_ready(main, head.address, token, log_path, timeout_s)
        return _write_state(replace(head, ready_seconds=round(time.monotonic() - started, 2)), state_dir)


def running_head(state_dir: Path | None = None) -> Head | None:
    """Return the head of ``state_dir`` if its main process lives."""
    head = _read_state(state_dir)
    # The session directory's name is unique, so another process that was given the same pid is not taken for the head.
    return head if head and head.temp_dir in processes.command_line(head.pid) else None


def stop_head(state_dir: Path | None = None, *, timeout_s: float = 20.0) -> Head:
    """End the processes of the head of ``state_dir``, and no others, and remove its session directory.

    Raises:
        UserError: if there is no such head.
    """
    state_dir = (state_dir or default_state_dir()).expanduser().absolute()
    head = _read_state(state_dir)
    if head is None:
        raise UserError(f"no Ray head was started from {state_dir}", f"start one with `{command('head', 'start')}`")
    was_running = head.temp_dir in processes.command_line(head.pid)
    processes.end(head.pid if was_running else None, head.processes, timeout_s=timeout_s)
    _forget(head, state_dir)
    return head


def head_environment(state_dir: Path | None = None) -> dict[str, str]:
    """Return the variables with which Ray's own clients (``ray job submit``, ``ray status``) reach the running head.

    A program that joins with ``ray.init(address=...)`` needs them before it imports Ray.

    Raises:
        UserError: if no head runs.
    """
    head = running_head(state_dir)
    if head is None:
        raise UserError("no Ray head of yours runs on this machine", f"start one with `{command('head', 'start')}`")
    return {"RAY_API_SERVER_ADDRESS": head.address, **private_environment(Path(head.token_path))}


def environment_for(gcs_address: str, state_dir: Path | None = None) -> dict[str, str]:
    """Return what ``ray.init(address=gcs_address)`` needs in the environment: nothing where that is no head of ours."""
    head = running_head(state_dir)
    ours = head is not None and same_server(f"ray://{gcs_address.removeprefix('ray://')}", f"ray://{head.gcs_address}")
    return private_environment(Path(head.token_path)) if head and ours else {}


def joining_environment(gcs_address: str) -> dict[str, str | None]:
    """Return what has to change in the environment to join the Ray at an address; ``None`` removes a variable.

    What a head of ours, or a local session, has left in the environment must not reach a cluster of other machines.
    """
    if ours := environment_for(gcs_address):
        return {TOKEN: None, **ours}
    elsewhere = gcs_address != "auto" and not is_loopback(gcs_address.removeprefix("ray://").rpartition(":")[0])
    return {CLUSTERS: None} if elsewhere and os.environ.get(CLUSTERS) == "0" else {}


def _server_environment(token_path: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    environment |= private_environment(token_path) | loopback_collectives()
    # Started under `uv run`, Ray would rebuild the environment of every worker, without Ray in it.
    environment["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    # Told to end, Ray would wait up to 30 s for running jobs.
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    # A job's `python` is the interpreter that started the head, with its packages.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return environment


def _wait_until_ready(
    main: subprocess.Popen[bytes], address: str, token: str, log_path: Path, timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    problem = f"the Ray head did not answer at {address} within {timeout_s:.0f} s"
    while time.monotonic() < deadline:
        if main.poll() is not None:
            problem = f"the Ray head ended with status {main.returncode} while it started"
            break
        if STARTED_LINE in log_path.read_text(errors="replace"):
            with contextlib.suppress(UserError):
                probe(address, token, timeout_s=2.0)
                return
        time.sleep(0.1)
    tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise UserError(problem, f"see the end of {log_path}:\n{tail}")


@contextlib.contextmanager
def _ended_on_failure(head: Head, state_dir: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:  # Ctrl-C too: a half-started head must not stay behind
        processes.end(head.pid, [], timeout_s=10.0)
        _forget(head, state_dir)
        raise


def _forget(head: Head, state_dir: Path) -> None:
    shutil.rmtree(head.temp_dir, ignore_errors=True)
    (state_dir / "head.json").unlink(missing_ok=True)


def _write_state(head: Head, state_dir: Path) -> Head:
    head = replace(head, processes=processes.tree(head.pid))
    write_atomically(state_dir / "head.json", json.dumps(asdict(head), indent=2) + "\n")
    return head


def _read_state(state_dir: Path | None) -> Head | None:
    try:
        path = (state_dir or default_state_dir()).expanduser().absolute() / "head.json"
    except UserError:  # who has no home has started no head
        return None
    try:
        state = json.loads(path.read_text())
        state["processes"] = [(int(pid), float(started)) for pid, started in state["processes"]]
        return Head(**state)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"cannot read the head's state in {path}", "delete that file and start the head again"
        ) from error
