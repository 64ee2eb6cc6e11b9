"""Rows, settings, results and policies for a tracker of experiments: MLflow or Weights & Biases, by their own clients.

Where they send to and with which token is theirs to know, from their own variables and files (``MLFLOW_TRACKING_URI``,
``WANDB_MODE``, ``wandb login``): nothing of it is read, kept or printed here.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from synrl_ray.errors import reason_of
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.overrides import shown_settings
from synrl_ray.results import Result
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.paths import setting_paths

Tracker = Literal["mlflow", "wandb"]
TRACKING_FILE = "tracking.json"
"""Under which id each tracker knows a run, so that one that goes on stays one run there."""
_PROJECT = "synrl_ray"
_ARTEFACTS = ("policy.json", "policy.safetensors", "result.json", "config.json", "card.md")
_MOST_BYTES = 2**16
_BATCH = 100
"""Parameters that MLflow takes at once."""


class Client(Protocol):
    """A run in a tracker."""

    id: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send a row."""

    def end(self, result: Result | None, files: Iterable[Path]) -> None:
        """Send what has come out; without a result the run was stopped, and may go on."""


class Tracking:
    """Sends a run to a tracker. What fails there is told once, and then no more is sent: training goes on.

    Args:
        name: of the tracker.
        folder: of the run.
        spec: what is trained.
    """

    def __init__(self, name: Tracker, folder: Path, spec: RunSpec) -> None:
        self.name, self.folder, self.spec = name, folder, spec
        self._client: Client | None = None
        self._notices: list[str] = []

    def begin(self) -> None:
        """Begin a run there, or go on with it."""
        self._try(self._begin)

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Send the numbers of a row."""
        values = {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
        self._try(lambda client: client.log({n: v for n, v in values.items() if math.isfinite(v)}, step))

    def end(self, result: Result | None) -> None:
        """Send figures and files of a finished run, or that it was stopped."""
        files = [path for name in _ARTEFACTS if (path := self.folder / name).is_file()] if result is not None else []
        self._try(lambda client: client.end(result, files))
        self._client = None

    def take_notices(self) -> tuple[str, ...]:
        """What there is to say since the last call."""
        notices, self._notices = tuple(self._notices), []
        return notices

    def _begin(self, _: Any) -> None:
        known: dict[str, str] = {}
        with suppress(AttributeError, OSError, RecursionError, ValueError):  # a folder may be a stranger's
            found = json.loads(read_bounded(self.folder / TRACKING_FILE, _MOST_BYTES))
            known = {name: value for name, value in found.items() if isinstance(value, str)}
        self._client = _CLIENTS[self.name](self.spec, self.folder, known.get(self.name))
        write_atomically(self.folder / TRACKING_FILE, json.dumps({**known, self.name: self._client.id}) + "\n")

    def _try(self, call: Callable[[Any], None]) -> None:
        if self._client is None and call != self._begin:
            return
        try:
            call(self._client)
        except ImportError:
            self._give_up(f"{self.name} is not installed: pip install '{_PACKAGES[self.name]}'")
        except Exception as error:  # clients raise many types, some with a token's place in their text
            self._give_up(f"{self.name} cannot be reached ({type(error).__name__}: {reason_of(error)})")

    def _give_up(self, problem: str) -> None:
        self._client = None
        self._notices.append(f"{problem}; the run is not tracked there, training goes on")


def settings_of(spec: RunSpec) -> dict[str, str]:
    """Path → value of every setting, and the run's seed and scale, as text."""
    experiment, paths = spec.experiment, setting_paths(spec.experiment)
    values = {
        path: shown.partition("=")[2] for path, shown in zip(paths, shown_settings(experiment, paths), strict=True)
    }
    scale = {name: str(getattr(spec, name)) for name in ("policy", "seed", "num_workers", "num_learners")}
    return {"experiment": experiment.id, **scale, **values}


class _MLflow:
    """A run of MLflow."""

    def __init__(self, spec: RunSpec, folder: Path, known: str | None) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # it would try for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is ours
        mlflow = import_module("mlflow")
        self._entities, self._client = mlflow.entities, mlflow.MlflowClient()
        if known is not None:
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(_PROJECT)
        place = self._client.create_experiment(_PROJECT) if found is None else found.experiment_id
        name = f"{spec.experiment.id} {spec.policy} seed {spec.seed}"
        self.id = self._client.create_run(place, run_name=name).info.run_id
        settings = [self._entities.Param(key, value[:500]) for key, value in settings_of(spec).items()]
        for first in range(0, len(settings), _BATCH):
            self._client.log_batch(self.id, params=settings[first : first + _BATCH])

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send a row."""
        now = int(1000 * time.time())
        self._client.log_batch(self.id, metrics=[self._entities.Metric(n, v, now, step) for n, v in values.items()])

    def end(self, result: Result | None, files: Iterable[Path]) -> None:
        """Send what has come out."""
        if result is not None:
            self.log({f"result/{n}": float(v) for n, v in result.figures.items() if v is not None}, 0)
        for file in files:
            self._client.log_artifact(self.id, str(file))
        self._client.set_terminated(self.id, "KILLED" if result is None else "FINISHED")


class _Wandb:
    """A run of Weights & Biases."""

    def __init__(self, spec: RunSpec, folder: Path, known: str | None) -> None:
        self._wandb = wandb = import_module("wandb")
        if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and not wandb.login(prompt=False):
            raise PermissionError("no key: give `wandb login`, or set WANDB_MODE=offline")
        self._run = wandb.init(
            project=_PROJECT,
            group=spec.experiment.id,
            name=f"{spec.experiment.id} {spec.policy} seed {spec.seed}",
            id=known,
            resume="allow" if known is not None else None,
            config=settings_of(spec),
            dir=str(folder),
            settings=wandb.Settings(console="off", silent=True),
        )
        self.id = str(self._run.id)
        self._run.define_metric("*", step_metric="step")  # evaluations parallel to training are of earlier steps

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send a row."""
        self._run.log({**values, "step": step})

    def end(self, result: Result | None, files: Iterable[Path]) -> None:
        """Send what has come out."""
        if result is not None:
            self._run.summary.update({f"result/{name}": value for name, value in result.figures.items()})
            kept = self._wandb.Artifact(f"policy-{self.id}", type="policy")
            for file in files:
                kept.add_file(str(file))
            self._run.log_artifact(kept)
        self._run.finish(exit_code=0 if result is not None else 1)


_CLIENTS: Mapping[Tracker, Callable[[RunSpec, Path, str | None], Client]] = {"mlflow": _MLflow, "wandb": _Wandb}
_PACKAGES: Mapping[Tracker, str] = {"mlflow": "synrl-ray[mlflow]", "wandb": "synrl-ray[wandb]"}
