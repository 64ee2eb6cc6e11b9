"""Searching settings from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synrl_ray.api.any_environment import ALGORITHM, chosen_block
from synrl_ray.api.specs import Settings, make_specs
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Experiment, PolicyKind
from synrl_ray.files import located
from synrl_ray.overrides import setting_values
from synrl_ray.terminal import Lasting
from synrl_ray.tuning.report import as_result
from synrl_ray.tuning.session import SearchOutcome, resume_study, start_study
from synrl_ray.tuning.space import search_space
from synrl_ray.tuning.study import Scheduler, Search, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Searched:
    """What a search has found."""

    outcome: SearchOutcome

    @property
    def folder(self) -> Path:
        """Of the study: trials, picture and ``best.json``, which ``config`` of :func:`synrl_ray.train` takes."""
        return self.outcome.folder

    @property
    def best(self) -> dict[str, Any]:
        """The best trial's settings, by their paths."""
        return self.outcome.settings

    @property
    def score(self) -> float | None:
        """The best trial's, larger for better."""
        return self.outcome.best.score

    def table(self) -> list[dict[str, Any]]:
        """A row for each trial: its state, score, steps and settings; such as a data frame takes."""
        return list(as_result(self.outcome)["trials"])

    def plot(self) -> Figure:
        """Every trial's score against steps, and the last scores against each setting."""
        from synrl_ray.tuning.figure import study_figure

        return study_figure(self.outcome.study, self.outcome.trials, self.outcome.best)


def tune(
    experiment: str | AnyExperiment | None = None,
    /,
    *,
    policy: PolicyKind | None = None,
    samples: int | None = None,
    space: Sequence[str] | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    scheduler: Scheduler | None = None,
    search: Search | None = None,
    max_concurrent: int | None = None,
    num_workers: int | None = None,
    gpus_per_learner: float | None = None,
    stop_steps: int | None = None,
    run_dir: str | Path | None = None,
    address: str | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    env: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Searched:
    """Search an experiment's settings with Ray Tune, or go on with a search that was stopped; as ``synrl tune`` does.

    Args:
        experiment: id, or the experiment itself; its ``search_space`` is what is searched.
        policy: see :func:`synrl_ray.train`.
        samples: trials; 10 where not given.
        space: ranges instead of the experiment's or beside them, such as ``"lr=log:1e-4..1e-2"``.
        settings: what to replace; it is not searched then.
        seed: of the search and of every trial; 0 where not given.
        scheduler: ``"asha"`` (the default), ``"pbt"`` or ``"none"``.
        search: ``"random"`` (the default) or ``"optuna"``.
        max_concurrent: trials at a time, at most.
        num_workers: env runners of each trial in processes of their own.
        gpus_per_learner: see :func:`synrl_ray.train`; a share lets trials learn on one GPU at the same time.
        stop_steps: environment steps of each trial.
        run_dir: the study's folder; ``runs/EXPERIMENT/tune-POLICY-seedN`` by default.
        address: host:port of a Ray cluster.
        resume: go on with the study in this folder.
        trust: load checkpoints, and import modules, of a study that this user has not made on this machine.
        env: see :func:`synrl_ray.train`.
        say: is told what happens, a line at a time; by default it is printed on standard error.

    Raises:
        UserError: for what the caller can mend.
        KeyboardInterrupt: after Ctrl-C, with the command that goes on.
    """
    told = say or _print
    if resume is not None:
        fixed: dict[str, Any] = {"EXPERIMENT": experiment, "--policy": policy, "--samples": samples, "--space": space}
        fixed |= {"--env": env, "--set": settings, "--seed": seed, "--scheduler": scheduler, "--search": search}
        fixed |= {"--max-concurrent": max_concurrent, "--num-workers": num_workers, "--stop-steps": stop_steps}
        fixed |= {"--gpus-per-learner": gpus_per_learner}
        given = [name for name, value in {**fixed, "--run-dir": run_dir}.items() if value is not None]
        if given:
            raise UserError(f"--resume does not go with {given[0]}", "a resumed study keeps its own settings")
        return Searched(resume_study(located(Path(resume)), address=address, say=told, trust=trust))
    for option, value in (("--samples", samples), ("--max-concurrent", max_concurrent)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value} is too small", "it is at least 1")
    if space is not None and not space:
        raise UserError("--space names no setting", "write for instance --space lr=log:1e-4..1e-2")
    scale: dict[str, Any] = {"num_workers": num_workers or 0, "gpus_per_learner": gpus_per_learner or 0.0}
    run = make_specs(experiment, policy, seed=seed, stop_steps=stop_steps, settings=settings, env=env, **scale)[0]
    keys = [item.partition("=")[0].strip() for item in settings or ()]
    if env is not None:
        keys = [key for key in keys if key != ALGORITHM]
        told(chosen_block(run.experiment_as(Experiment)))
    ranges = search_space(run.experiment, run.policy, extra=space or (), fixed=keys)
    run = replace(run, experiment=replace(run.experiment, search_space=ranges))
    study = Study(
        run=run,
        settings=setting_values(run.experiment, keys),
        samples=10 if samples is None else samples,
        scheduler=scheduler or "asha",
        search=search or "random",
        max_concurrent=max_concurrent,
    )
    path = Path(run_dir or Path("runs") / run.experiment.id / f"tune-{run.policy}-seed{run.seed}")
    return Searched(start_study(located(path), study, address=address, say=told))


def _print(line: str) -> None:
    print(line, file=Lasting(sys.stderr), flush=True)
