"""``synrl tune``. Heavy imports happen inside the command, as in :mod:`synrl_ray.cli`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from synrl_ray.arguments import Integer, Json, PolicyKind, Settings

if TYPE_CHECKING:
    pass

Ranges = Annotated[list[str] | None, Parameter(name="--space", consume_multiple=True)]


def tune(
    experiment: str | None = None,
    /,
    *,
    env: str | None = None,
    policy: PolicyKind | None = None,
    samples: Integer | None = None,
    space: Ranges = None,
    settings: Settings = None,
    seed: Integer | None = None,
    scheduler: Literal["asha", "pbt", "none"] | None = None,
    search: Literal["random", "optuna"] | None = None,
    max_concurrent: Integer | None = None,
    num_workers: Integer | None = None,
    gpus_per_learner: float | None = None,
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
        env: instead of an experiment, the id of any Gymnasium environment, or module:Id; see `synrl train`.
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
        gpus_per_learner: GPUs that each trial learns on, a share of one or 1; 0, the default, learns on the CPU.
        stop_steps: environment steps of each trial.
        run_dir: the study's folder; runs/EXPERIMENT/tune-POLICY-seedN where not given.
        address: host:port of a Ray cluster; without it a local Ray is started.
        resume: go on with the study in this folder.
        trust: load checkpoints, and import the modules of environments and networks, though you did not make the study
            on this machine. RLlib's checkpoints are pickles, which can execute anything.
        as_json: print the result as JSON on standard output; progress goes to standard error.
    """
    import synrl_ray
    from synrl_ray.tuning.report import as_result, print_search

    searched = synrl_ray.tune(
        experiment,
        env=env,
        policy=policy,
        samples=samples,
        space=space,
        settings=settings,
        seed=seed,
        scheduler=scheduler,
        search=search,
        max_concurrent=max_concurrent,
        num_workers=num_workers,
        gpus_per_learner=gpus_per_learner,
        stop_steps=stop_steps,
        run_dir=run_dir,
        address=address,
        resume=resume,
        trust=trust,
    )
    if as_json:
        print(json.dumps(as_result(searched.outcome), indent=2))
    else:
        print_search(searched.outcome)
