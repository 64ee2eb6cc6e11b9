"""A run that is told to a tracker: what is sent, one run there for one run here, and what fails there costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from synrl_ray.errors import UserError
from synrl_ray.kinds import kind_of
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.results import Result
from synrl_ray.running import tracking
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.tracking import Tracking, settings_of
from synrl_ray.running.training import train_run

SETTINGS = ["env_steps=60000", "interval_steps=20000", "steps_per_iteration=20000"]
SPEC = RunSpec(
    experiment=apply_overrides(get_experiment("taxi-q-learning"), SETTINGS), policy="tabular", seed=0, num_workers=0
)
KIND = kind_of(SPEC.experiment)


class Client:
    """Keeps what it is sent."""

    made: ClassVar[list[Client]] = []
    fails_at = -1

    def __init__(self, spec: RunSpec, known: str | None) -> None:
        self.id = known or f"new {len(self.made)}"
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.ended: list[tuple[Result | None, list[str]]] = []
        self.made.append(self)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.rows.append((step, values))
        if step == self.fails_at:
            raise ConnectionError("gone")

    def end(self, result: Result | None, files: Iterable[Path]) -> None:
        self.ended.append((result, [file.name for file in files]))


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    monkeypatch.setattr(Client, "made", [])
    monkeypatch.setitem(tracking._CLIENTS, "mlflow", Client)  # type: ignore[attr-defined]
    return Client.made


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("fails_at", [-1, 40_000])
def test_rows_and_result_are_sent_as_long_as_the_tracker_is_there(
    tmp_path: Path, clients: list[Client], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(Client, "fails_at", fails_at)
    folder, told = RunFolder.create(tmp_path / "run", SPEC), []
    result = train_run(folder, SPEC, KIND, lambda progress: told.extend(progress.notices), track="mlflow")
    (client,) = clients
    steps = [step for step, _ in client.rows]
    rows = folder.metrics()
    assert [row["env_steps"] for row in rows] == [20_000, 40_000, 60_000]
    if fails_at < 0:
        assert (steps, told) == ([20_000, 40_000, 60_000], [])
        assert client.rows[-1][1] == {name: value for name, value in rows[-1].items() if value is not None}
        (ended,) = client.ended
        assert ended == (result, ["policy.json", "policy.safetensors", "result.json", "config.json", "card.md"])
    else:
        assert (steps, client.ended) == ([20_000, 40_000], [])
        assert told == [
            "mlflow cannot be reached (ConnectionError: gone); the run is not tracked there, training goes on"
        ]
    assert json.loads((folder.path / "tracking.json").read_text())["runs"] == {"mlflow": client.id}
    with folder.locked():  # nothing that leads out of it is left in it
        pass


def test_a_run_that_goes_on_is_the_same_run_there(tmp_path: Path, clients: list[Client]) -> None:
    for _ in range(2):
        run = Tracking("mlflow", tmp_path, SPEC)
        run.begin()
        run.log({"a": 1, "b": None, "c": float("nan"), "d": "text"}, 7)
        run.end(None)
        assert run.take_notices() == ()
    first, second = clients
    assert first.id == second.id
    assert second.rows == [(7, {"a": 1.0})]
    assert second.ended == [(None, [])]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"runs": 7}', '{"runs": {"mlflow": "mine"}, "hmac": "00"}', '{"runs": {"mlflow": "mine"}}']
)
def test_what_lies_in_place_of_the_ids_is_no_reason_to_stop(
    tmp_path: Path, clients: list[Client], content: str
) -> None:
    (tmp_path / "tracking.json").write_text(content)
    run = Tracking("mlflow", tmp_path, SPEC)
    run.begin()
    assert run.take_notices() == ()
    assert clients[0].id == "new 0"


def test_ids_that_were_noted_for_another_folder_are_not_taken(tmp_path: Path, clients: list[Client]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    Tracking("mlflow", tmp_path / "a", SPEC).begin()
    (tmp_path / "b" / "tracking.json").write_bytes((tmp_path / "a" / "tracking.json").read_bytes())
    Tracking("mlflow", tmp_path / "b", SPEC).begin()
    assert [client.id for client in clients] == ["new 0", "new 1"]


def test_a_password_in_an_address_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: RunSpec, known: str | None) -> Any:
        raise ConnectionError("no answer from http://alice:hunter2@127.0.0.1:9/api")

    monkeypatch.setitem(tracking._CLIENTS, "mlflow", refuse)  # type: ignore[attr-defined]
    run = Tracking("mlflow", tmp_path, SPEC)
    run.begin()
    (told,) = run.take_notices()
    assert "no answer from http://127.0.0.1:9/api" in told


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'foo' is no tracker"):
        Tracking("foo", tmp_path, SPEC)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_one_that_is_not_installed_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError(name=module)

    monkeypatch.setattr(tracking, "import_module", missing)
    run = Tracking(name, tmp_path, SPEC)
    run.begin()
    run.log({"a": 1.0}, 1)
    run.end(None)
    (told,) = run.take_notices()
    assert told.startswith(f"{name} is not installed: pip install 'synrl-ray[{name}]'")


def test_every_setting_is_told() -> None:
    settings = settings_of(SPEC)
    assert (settings["experiment"], settings["seed"], settings["stopping.env_steps"]) == (
        *("taxi-q-learning", "0", "60000"),
    )
