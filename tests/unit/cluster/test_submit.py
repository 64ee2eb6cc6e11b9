"""What is sent, how the log is followed, and how a job's end becomes an exit status; a stand-in for Ray's client."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synrl_ray.cluster import submit
from synrl_ray.cluster.submit import JobOutcome, follow_job, submit_job
from synrl_ray.errors import UserError

ADDRESS = "http://127.0.0.1:9000"


class FakeClient:
    """Answers like Ray's client; ``tails`` are the chunks of each connection, an exception breaks one."""

    def __init__(self, tails: list[list[Any]], **info: Any) -> None:
        self.tails = tails
        self.info = {"status": "SUCCEEDED", "message": "", "driver_exit_code": 0, **info}
        self.sent: dict[str, Any] = {}

    def submit_job(self, **job: Any) -> str:
        self.sent = job
        return "job-1"

    def get_job_info(self, job_id: str) -> SimpleNamespace:
        if job_id != "job-1":
            raise RuntimeError(f"Request failed with status code 404: Job {job_id} does not exist.")
        running = self.info | {"status": "RUNNING"}
        return SimpleNamespace(**(running if self.tails else self.info))

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        for chunk in self.tails.pop(0):
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(client: FakeClient) -> FakeClient:
        @contextlib.contextmanager
        def connect(*_: object) -> Iterator[FakeClient]:
            yield client

        monkeypatch.setattr(submit, "_client", connect)
        monkeypatch.setattr(submit, "_server", lambda *_: (ADDRESS, "token", False))
        monkeypatch.setattr(submit, "probe", lambda *_: "2.60.0")
        monkeypatch.setattr(submit.time, "sleep", lambda _: None)
        return client

    return install


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def test_the_job_that_is_sent(fake: Any, project: Path) -> None:
    client = fake(FakeClient([["done\n"]]))
    outcome = submit_job(["train", "a b", "--set", "x=$y"], working_dir=project, env_vars={"MORE": "1"})
    assert client.sent["entrypoint"] == "python -m synrl_ray train 'a b' --set 'x=$y'"
    assert client.sent["runtime_env"]["working_dir"] == str(project)
    assert client.sent["runtime_env"]["env_vars"] == {
        "MORE": "1",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": "120",
        "SYNRL_RUN_ROOT": "~/synrl",
    }
    assert outcome.exit_status == 0
    assert outcome.package_size == 22 + 76 + 2 * len("pyproject.toml") + len("[project]\n")


def test_own_head_reads_and_writes_where_we_are(fake: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = fake(FakeClient([]))
    monkeypatch.setattr(submit, "_server", lambda *_: (ADDRESS, "token", True))
    monkeypatch.chdir(project)
    monkeypatch.setenv("SYNRL_DATA", "../data")
    monkeypatch.setenv("SYNRL_EXPERIMENTS", f"/mine:{project}/more")
    submit_job(["list"], working_dir=project, env_vars={"SYNRL_EXPERIMENTS": "/theirs"}, follow=False)
    sent = client.sent["runtime_env"]["env_vars"]
    assert sent["SYNRL_RUN_ROOT"] == str(project)
    assert sent["SYNRL_DATA"] == f"{project}/../data"
    assert sent["SYNRL_EXPERIMENTS"] == "/theirs"
    submit_job(["list"], working_dir=project, follow=False)
    assert client.sent["runtime_env"]["env_vars"]["SYNRL_EXPERIMENTS"] == f"/mine:{project}/more"
    monkeypatch.setenv("SYNRL_DATA", "/with:colon")
    monkeypatch.delenv("SYNRL_EXPERIMENTS")
    submit_job(["list"], working_dir=project, follow=False)
    sent = client.sent["runtime_env"]["env_vars"]
    assert (sent["SYNRL_DATA"], "SYNRL_EXPERIMENTS" in sent) == ("/with:colon", False)


def test_nothing_is_sent_over_the_limit(fake: Any, project: Path) -> None:
    client = fake(FakeClient([[]]))
    with pytest.raises(UserError, match="over the limit"):
        submit_job(["list"], working_dir=project, size_limit=10)
    assert client.sent == {}


def test_what_is_not_sent_is_said(fake: Any, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = fake(FakeClient([]))
    (project / ".env").write_text("PASSWORD=1")
    (project / "data").symlink_to(project.parent)
    submit_job(["list"], working_dir=project, follow=False)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "not sent: .env (may hold secrets); data (a link out of the project)"
    assert {"/data", ".env", "**/.docker/config.json"} <= set(client.sent["runtime_env"]["excludes"])


def test_without_following(fake: Any, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(FakeClient([["never read"]]))
    outcome = submit_job(["list"], working_dir=project, follow=False)
    assert (outcome.status, outcome.exit_status) == ("PENDING", 0)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"`ray job logs --follow --address {ADDRESS} job-1`" in err


def test_a_broken_connection_loses_and_repeats_nothing(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(FakeClient([["one\n", "tw", RuntimeError("closed")], ["one\ntwo\n", "three\n"]]))
    assert follow_job("job-1").status == "SUCCEEDED"
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_a_server_that_is_gone_ends_the_following(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(FakeClient([["one\n", RuntimeError("closed")], []]))

    def gone(*_: object) -> str:
        raise UserError("no Ray head answers")

    monkeypatch.setattr(submit, "probe", gone)
    with pytest.raises(UserError, match="no Ray head answers"):
        follow_job("job-1")


def test_a_reader_that_went_away_ends_the_following(fake: Any) -> None:
    fake(FakeClient([["one\n", BrokenPipeError()], []]))
    with pytest.raises(BrokenPipeError):
        follow_job("job-1")


def test_interrupt_leaves_the_job_running(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(FakeClient([["one\n", KeyboardInterrupt()]]))
    outcome = follow_job("job-1")
    assert (outcome.status, outcome.detached, outcome.exit_status) == ("RUNNING", True, 130)
    assert f"goes on at {ADDRESS} — follow it: `ray job logs --follow" in capsys.readouterr().err


def test_a_failed_job_gives_its_status(fake: Any, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(FakeClient([["synrl: unknown\n"]], status="FAILED", driver_exit_code=2, message="failed, logs:\nall of it"))
    assert submit_job(["train", "no"], working_dir=project).exit_status == 2
    out, err = capsys.readouterr()
    assert out == "synrl: unknown\n"
    assert err.startswith("job job-1 failed with status 2 — its log says why: `ray job logs")
    assert err.count("\n") == 1


def test_a_job_that_never_ran_says_why() -> None:
    outcome = JobOutcome("job-1", ADDRESS, "FAILED", None, "runtime_env setup failed", own_head=True)
    assert outcome.exit_status == 1
    assert outcome.summary.startswith("job job-1 did not run: runtime_env setup failed — ")
    assert 'eval "$(synrl head env)"; ray job logs job-1' in outcome.summary


def test_unknown_job(fake: Any) -> None:
    fake(FakeClient([]))
    with pytest.raises(UserError, match=r"no job 'job-2' at http://127\.0\.0\.1:9000 — `ray job list"):
        follow_job("job-2")


def test_stopped_job() -> None:
    assert JobOutcome("job-1", ADDRESS, "STOPPED").exit_status == 130
    assert JobOutcome("job-1", ADDRESS, "STOPPED").summary == "job job-1 stopped"


def test_importing_the_package_loads_neither_ray_nor_torch() -> None:
    code = "import sys, synrl_ray.cluster; print(sorted({'ray', 'torch', 'psutil', 'asyncio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
