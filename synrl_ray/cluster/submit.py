"""Send ``python -m synrl_ray ...`` as a job to a Ray head, follow its log, and return how it ended."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from synrl_ray.cluster.head import running_head
from synrl_ray.cluster.job_server import authorization, is_loopback, probe, resolve_address, same_server, token_for
from synrl_ray.cluster.package import DEFAULT_SIZE_LIMIT, measure_package
from synrl_ray.commands import command, quoted
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import expanded

ENTRYPOINT = ("python", "-m", "synrl_ray")
TERMINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
RUN_ROOT_VARIABLE = "SYNRL_RUN_ROOT"
REMOTE_RUN_ROOT = "~/synrl"
_PATH_VARIABLES = ("SYNRL_DATA", "SYNRL_EXPERIMENTS")
_SECONDS_TO_STOP = 120
"""What a stopped job has to end its iteration and write its checkpoint, before Ray kills it: by itself after three."""
INTERRUPTED = 130  # what a shell reports after Ctrl-C
# Ray lets these override an address that the caller gives.
_OVERRIDING_VARIABLES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_CHATTY_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
    "ray._private.runtime_env.working_dir",
)


@dataclass(frozen=True)
class JobOutcome:
    """How a job stands when its submitter returns.

    Args:
        job_id: Ray's submission id.
        address: URL of the job server.
        status: ``PENDING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        exit_code: status of the job's process, if it ran and ended.
        message: Ray's own words where no process ran.
        package_size: bytes that were shipped; ``None`` where the job was only followed.
        submit_seconds: time from the call until the server had the job.
        detached: whether following ended by Ctrl-C while the job went on.
        own_head: whether the server is the head that ``start_head`` started.
    """

    job_id: str
    address: str
    status: str
    exit_code: int | None = None
    message: str = ""
    package_size: int | None = None
    submit_seconds: float | None = None
    detached: bool = False
    own_head: bool = False

    @property
    def exit_status(self) -> int:
        """Return the status for the submitting process to end with."""
        if self.detached or self.status == "STOPPED":
            return INTERRUPTED
        return (self.exit_code or 1) if self.status == "FAILED" else 0

    @property
    def summary(self) -> str:
        """Return one line that says how the job stands, and what to do where it did not succeed."""
        if self.status == "FAILED":
            if self.exit_code is None:
                return f"job {self.job_id} did not run: {self.message} — {_hint('logs', self)}"
            return f"job {self.job_id} failed with status {self.exit_code} — its log says why: {_hint('logs', self)}"
        if self.status in TERMINAL:
            return f"job {self.job_id} {self.status.lower()}"
        follow, stop = _hint("logs --follow", self), _hint("stop", self)
        return f"job {self.job_id} goes on at {self.address} — follow it: {follow}; stop it: {stop}"


def submit_job(
    args: Sequence[str],
    *,
    address: str | None = None,
    working_dir: Path,
    follow: bool = True,
    entrypoint: Sequence[str] = ENTRYPOINT,
    env_vars: Mapping[str, str] | None = None,
    size_limit: int = DEFAULT_SIZE_LIMIT,
    state_dir: Path | None = None,
) -> JobOutcome:
    """Run ``python -m synrl_ray <args>`` on a Ray head, with the code of ``working_dir``.

    The job's log goes to stdout, one line on how the job stands (``JobOutcome.summary``) to stderr.

    The job's working directory is a copy that Ray deletes some time later. ``SYNRL_RUN_ROOT`` tells the job where
    relative run folders belong instead: in ``working_dir`` where the head is this machine's own, else ``~/synrl``
    of the machine that runs the job. A head of this machine's own also finds data and experiments where they are here
    (``SYNRL_DATA``, ``SYNRL_EXPERIMENTS``); for another, ``env_vars`` name them.

    Args:
        args: what follows the entry point; quoted for the shell here.
        address: ``host:port`` of the job server; by default what Ray's environment names, then the local head.
        working_dir: directory to ship, within ``size_limit`` bytes.
        follow: stream the job's log to stdout until it ends. Ctrl-C then leaves the job running.
        entrypoint: what to run.
        env_vars: variables for the job and its workers.
        size_limit: bytes that may be shipped.
        state_dir: where the local head keeps its state.

    Raises:
        UserError: no job server there, the token is wrong, too much to ship, or the server refuses the job.
            A job that fails is no error here: see ``JobOutcome.exit_status``.
    """
    started = time.monotonic()
    address, token, own_head = _server(address, state_dir)
    package = measure_package(working_dir, size_limit=size_limit)
    if package.notice:
        print(package.notice, file=sys.stderr, flush=True)
    with _client(address, token) as client:
        job_id = client.submit_job(
            entrypoint=shlex.join([*entrypoint, *args]),
            runtime_env={
                "working_dir": str(working_dir.absolute()),
                "excludes": package.excludes,
                "env_vars": {
                    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
                    "RAY_JOB_STOP_WAIT_TIME_S": str(_SECONDS_TO_STOP),
                    RUN_ROOT_VARIABLE: str(working_dir.absolute()) if own_head else REMOTE_RUN_ROOT,
                    **(_paths_here() if own_head else {}),
                    **(env_vars or {}),
                },
            },
            metadata={"command": shlex.join(args)},
        )
    seconds = round(time.monotonic() - started, 2)
    sent: dict[str, Any] = {"package_size": package.size, "submit_seconds": seconds, "own_head": own_head}
    return _report(
        _follow(address, token, job_id, **sent) if follow else JobOutcome(job_id, address, "PENDING", **sent)
    )


def _paths_here() -> dict[str, str]:
    """What the environment says of data and experiments, absolute: the job runs in another folder."""
    data, folders = (os.environ.get(name, "") for name in _PATH_VARIABLES)
    here = _absolute(data) if data else "", os.pathsep.join(_absolute(f) for f in folders.split(os.pathsep) if f)
    return {name: value for name, value in zip(_PATH_VARIABLES, here, strict=True) if value}


def _absolute(path: str) -> str:
    return str(expanded(path).absolute())


def follow_job(job_id: str, *, address: str | None = None, state_dir: Path | None = None) -> JobOutcome:
    """Stream a job's log to stdout, from its beginning, until the job ends; Ctrl-C leaves it running."""
    address, token, own_head = _server(address, state_dir)
    with _client(address, token) as client:
        _require_job(client, address, job_id)
    return _report(_follow(address, token, job_id, own_head=own_head))


def stop_job(job_id: str, *, address: str | None = None, state_dir: Path | None = None) -> bool:
    """Ask a job to stop; return whether it was running."""
    address, token, _ = _server(address, state_dir)
    with _client(address, token) as client:
        _require_job(client, address, job_id)
        return bool(client.stop_job(job_id))


def _server(address: str | None, state_dir: Path | None) -> tuple[str, str | None, bool]:
    """Return address and token of the job server after it has answered, and whether it is the local head's."""
    head = running_head(state_dir)
    address = resolve_address(address, head.address if head else None)
    token = token_for(address, head.address if head else None, Path(head.token_path) if head else None)
    probe(address, token)
    return address, token, head is not None and same_server(address, head.address)


def _require_job(client: Any, address: str, job_id: str) -> None:
    try:
        client.get_job_info(job_id)
    except RuntimeError as error:
        if "404" in str(error):
            raise UserError(
                f"no job {job_id!r} at {address}", f"`ray job list --address {quoted(address)}` shows all"
            ) from error
        raise


@contextlib.contextmanager
def _client(address: str, token: str | None) -> Iterator[Any]:
    """Yield Ray's client for exactly this address, quiet, its failures turned into a ``UserError``."""
    from ray.job_submission import JobSubmissionClient

    names = (*_OVERRIDING_VARIABLES, "no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    for name in _OVERRIDING_VARIABLES:
        os.environ.pop(name, None)
    host = urlsplit(address).hostname
    if host and is_loopback(host):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = host
    levels = {name: logging.getLogger(name).level for name in _CHATTY_LOGGERS}
    try:
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield JobSubmissionClient(address, headers=authorization(token))
    except (UserError, BrokenPipeError):  # the latter: whoever read stdout has gone
        raise
    except Exception as error:  # requests, aiohttp and Ray raise a dozen unrelated types here
        raise UserError(
            f"the job server at {address} failed: {reason_of(error)}", "see whether that head still runs, and its log"
        ) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _follow(address: str, token: str | None, job_id: str, **sent: Any) -> JobOutcome:
    import asyncio

    with _client(address, token) as client:
        try:
            _stream_log(client, job_id, lambda: probe(address, token))
            info = client.get_job_info(job_id)
            while str(info.status) not in TERMINAL:  # the log ends a moment before the status changes
                time.sleep(0.2)
                info = client.get_job_info(job_id)
        except (KeyboardInterrupt, asyncio.CancelledError):
            return JobOutcome(job_id, address, "RUNNING", detached=True, **sent)
    first_line = next(iter((info.message or "").splitlines()), "")
    return JobOutcome(job_id, address, str(info.status), info.driver_exit_code, first_line, **sent)


def _stream_log(client: Any, job_id: str, check_server: Callable[[], object]) -> None:
    """Write the log to stdout as it grows; a broken connection to a server that lives is taken up where it broke."""
    import asyncio

    import aiohttp

    written = 0

    async def tail() -> None:
        nonlocal written
        passed = 0
        async for chunk in client.tail_job_logs(job_id):  # always from the beginning of the log
            passed += len(chunk)
            if (new := passed - written) > 0:
                print(chunk[-new:], end="", flush=True)
                written = passed

    ended = False
    while not ended:  # once more after the job has ended, for what the broken connection kept back
        ended = str(client.get_job_info(job_id).status) in TERMINAL
        try:
            asyncio.run(tail())
            ended = True
        except BrokenPipeError:
            raise
        except (RuntimeError, OSError, aiohttp.ClientError):
            check_server()  # raises where the server is gone
            time.sleep(1.0)


def _report(outcome: JobOutcome) -> JobOutcome:
    print(outcome.summary, file=sys.stderr, flush=True)
    return outcome


def _hint(action: str, outcome: JobOutcome) -> str:
    """Return the command of Ray's own client for a job."""
    if outcome.own_head:
        return f'`eval "$({command("head", "env")})"; ray job {action} {quoted(outcome.job_id)}`'
    return f"`ray job {action} --address {quoted(outcome.address)} {quoted(outcome.job_id)}`"
