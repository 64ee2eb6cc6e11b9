"""Rows, settings, results and policies for a tracker of experiments: MLflow or Weights & Biases, by their own clients.

Where they send to and with which token is theirs to know, from their own variables and files (``MLFLOW_TRACKING_URI``,
``WANDB_MODE``, ``wandb login``): nothing of it is read, kept or printed here.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.overrides import shown_settings
from synrl_ray.results import Result
from synrl_ray.running.seal import is_own_text, sign_text
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.paths import setting_paths

Tracker = Literal["mlflow", "wandb"]
TRACKING_FILE = "tracking.json"
"""Under which id each tracker knows a run, so that one that goes on stays one run there."""
_PROJECT, _PURPOSE = "synrl_ray", "tracking"
_ARTEFACTS = ("policy.json", "policy.safetensors", "result.json", "config.json", "card.md")
_MOST_BYTES = 2**16
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""A name and a password in an address."""
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

    Raises:
        UserError: for another name.
    """

    def __init__(self, name: Tracker, folder: Path, spec: RunSpec) -> None:
        if name not in _CLIENTS:
            raise UserError(f"{name!r} is no tracker", f"it is one of {', '.join(_CLIENTS)}")
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
        noted = self._noted()
        self._client = _CLIENTS[self.name](self.spec, noted.get(self.name))
        noted[self.name] = self._client.id
        content = {"runs": noted, "hmac": sign_text(_PURPOSE, self._signed(noted))}
        write_atomically(self.folder / TRACKING_FILE, json.dumps(content) + "\n")

    def _noted(self) -> dict[str, str]:
        """Ids that this user has noted for this very folder: a stranger's might be those of other runs."""
        with suppress(AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
            found = json.loads(read_bounded(self.folder / TRACKING_FILE, _MOST_BYTES))
            noted = {name: value for name, value in found["runs"].items() if isinstance(value, str)}
            if is_own_text(_PURPOSE, self._signed(noted), found["hmac"]):
                return noted
        return {}

    def _signed(self, noted: Mapping[str, str]) -> str:
        return json.dumps([sorted(noted.items()), os.path.realpath(self.folder)])

    def _try(self, call: Callable[[Any], None]) -> None:
        if self._client is None and call != self._begin:
            return
        try:
            call(self._client)
        except ImportError as error:
            missing = error.name or self.name  # the client itself, or what it needs for the place it is to write to
            self._give_up(f"{missing} is not installed: pip install '{_PACKAGES[self.name]}'")
        except Exception as error:  # clients raise many types
            reason = _CREDENTIALS.sub("//", reason_of(error))
            self._give_up(f"{self.name} cannot be reached ({type(error).__name__}: {reason})")

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

    def __init__(self, spec: RunSpec, known: str | None) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # it would try for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is ours
        mlflow = import_module("mlflow")
        self._entities, self._client = mlflow.entities, mlflow.MlflowClient()
        place = self._place()
        with suppress(mlflow.exceptions.MlflowException):  # it is not there any more, or is another server's
            if known is not None and self._client.get_run(known).info.experiment_id == place:
                self.id = known
                self._client.update_run(known, status="RUNNING")
                return
        name = f"{spec.experiment.id} {spec.policy} seed {spec.seed}"
        self.id = self._client.create_run(place, run_name=name).info.run_id
        settings = [self._entities.Param(key, value[:500]) for key, value in settings_of(spec).items()]
        for first in range(0, len(settings), _BATCH):
            self._client.log_batch(self.id, params=settings[first : first + _BATCH])

    def _place(self) -> str:
        """The project's experiment; another run may make it at the same moment."""
        found = self._client.get_experiment_by_name(_PROJECT)
        if found is None:
            with suppress(Exception):
                return str(self._client.create_experiment(_PROJECT))
            found = self._client.get_experiment_by_name(_PROJECT)
        return str(found.experiment_id)

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

    def __init__(self, spec: RunSpec, known: str | None) -> None:
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


_CLIENTS: Mapping[Tracker, Callable[[RunSpec, str | None], Client]] = {"mlflow": _MLflow, "wandb": _Wandb}
_PACKAGES: Mapping[Tracker, str] = {"mlflow": "synrl-ray[mlflow]", "wandb": "synrl-ray[wandb]"}


def prepare(name: Tracker) -> None:
    """Make a store before several runs begin in it at once, which would each try to; what fails is theirs to tell."""
    with suppress(Exception):
        if name == "mlflow":
            client = import_module("mlflow").MlflowClient()
            if client.get_experiment_by_name(_PROJECT) is None:
                client.create_experiment(_PROJECT)
