"""``synrl tune``. Heavy imports happen inside the command, as in :mod:`synrl_ray.cli`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from synrl_ray.arguments import Integer, Json, PolicyKind, Settings, run_specs
from synrl_ray.errors import UserError
from synrl_ray.files import located
from synrl_ray.terminal import Lasting

if TYPE_CHECKING:
    from synrl_ray.tuning.session import SearchOutcome
    from synrl_ray.tuning.study import Study

Ranges = Annotated[list[str] | None, Parameter(name="--space", consume_multiple=True)]


def tune(
    experiment: str | None = None,
    /,
    *,
    policy: PolicyKind | None = None,
    samples: Integer | None = None,
    space: Ranges = None,
    settings: Settings = None,
    seed: Integer | None = None,
    scheduler: Literal["asha", "pbt", "none"] | None = None,
    search: Literal["random", "optuna"] | None = None,
    max_concurrent: Integer | None = None,
    num_workers: Integer | None = None,
    stop_steps: Integer | None = None,
    run_dir: Path | None = None,
    address: str | None = None,
    resume: Path | None = None,
    trust: bool = False,
    as_json: Json = False,
) -> None:
    """Search an experiment's settings with Ray Tune, or go on with a search that was stopped.

    Args:
        experiment: id, as `synrl list` shows it. What is searched is its search_space.
        policy: which of the experiment's policies: spiking (the default) or its non-spiking twin, or tabular.
        samples: trials (10 where not given).
        space: ranges instead of the experiment's or beside them, such as lr=log:1e-4..1e-2 spiking.beta=0.5..0.99
            surrogate=atan/fast_sigmoid.
        settings: key=value pairs that replace settings of the experiment; what is set here is not searched.
        seed: seed of the search and of every trial (0 where not given).
        scheduler: asha (the default) stops trials that are behind, pbt lets them copy better ones and changes settings
            on the way, none trains all to their end.
        search: random draws (the default), or optuna, which has to be installed.
        max_concurrent: trials at a time, at most; as many as there are CPUs where not given.
        num_workers: env runners of each trial in processes of their own.
        stop_steps: environment steps of each trial.
        run_dir: the study's folder; runs/EXPERIMENT/tune-POLICY-seedN where not given.
        address: host:port of a Ray cluster; without it a local Ray is started.
        resume: go on with the study in this folder.
        trust: load checkpoints, and import the module that the environment is in, though you did not make the study on
            this machine. RLlib's checkpoints are pickles, which can execute anything.
        as_json: print the result as JSON on standard output; progress goes to standard error.
    """
    from synrl_ray.tuning.session import resume_study, start_study

    if resume is not None:
        fixed: dict[str, Any] = {"EXPERIMENT": experiment, "--policy": policy, "--samples": samples, "--space": space}
        fixed |= {"--set": settings, "--seed": seed, "--scheduler": scheduler, "--search": search}
        fixed |= {"--max-concurrent": max_concurrent, "--num-workers": num_workers, "--stop-steps": stop_steps}
        given = [name for name, value in {**fixed, "--run-dir": run_dir}.items() if value is not None]
        if given:
            raise UserError(f"--resume does not go with {given[0]}", "a resumed study keeps its own settings")
        show(resume_study(located(resume), address=address, say=_say, trust=trust), as_json=as_json)
        return
    for option, value in (("--samples", samples), ("--max-concurrent", max_concurrent)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value} is too small", "it is at least 1")
    study = _study(
        experiment,
        policy,
        space,
        settings,
        seed=seed,
        num_workers=num_workers or 0,
        stop_steps=stop_steps,
        samples=10 if samples is None else samples,
        scheduler=scheduler or "asha",
        search=search or "random",
        max_concurrent=max_concurrent,
    )
    run = study.run
    path = run_dir or Path("runs") / run.experiment.id / f"tune-{run.policy}-seed{run.seed}"
    show(start_study(located(path), study, address=address, say=_say), as_json=as_json)


def show(outcome: SearchOutcome, *, as_json: bool) -> None:
    """Print what a search has found."""
    from synrl_ray.tuning.report import as_result, print_search

    if as_json:
        print(json.dumps(as_result(outcome), indent=2))
    else:
        print_search(outcome)


def _study(
    experiment: str | None,
    policy: PolicyKind | None,
    ranges: list[str] | None,
    settings: list[str] | None,
    *,
    seed: int | None,
    num_workers: int,
    stop_steps: int | None,
    **options: Any,
) -> Study:
    from dataclasses import replace

    from synrl_ray.overrides import setting_values
    from synrl_ray.tuning.space import search_space
    from synrl_ray.tuning.study import Study

    if ranges == []:
        raise UserError("--space names no setting", "write for instance --space lr=log:1e-4..1e-2")
    run = run_specs(
        experiment, policy, seed=seed, seeds=None, num_workers=num_workers, stop_steps=stop_steps, settings=settings
    )[0]
    keys = [item.partition("=")[0].strip() for item in settings or []]
    space = search_space(run.experiment, run.policy, extra=ranges or (), fixed=keys)
    run = replace(run, experiment=replace(run.experiment, search_space=space))
    return Study(run=run, settings=setting_values(run.experiment, keys), **options)


def _say(line: str) -> None:
    print(line, file=Lasting(sys.stderr), flush=True)
