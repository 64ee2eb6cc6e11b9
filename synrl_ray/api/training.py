"""Training from Python."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synrl_ray.api.any_environment import chosen_block
from synrl_ray.api.judging import Judged, evaluate
from synrl_ray.api.places import copy_place, fetched, run_folders
from synrl_ray.api.specs import Settings, make_specs
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Experiment, PolicyKind
from synrl_ray.files import located
from synrl_ray.kinds import kind_of, kind_of_run
from synrl_ray.results import Result
from synrl_ray.running.display import watch_runs
from synrl_ray.running.kind import Kind, Outcome
from synrl_ray.running.progress import Progress, Watcher
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.seeds import resume_run, train_seeds
from synrl_ray.running.storage import is_url
from synrl_ray.running.tracking import Tracker
from synrl_ray.terminal import Lasting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Trained:
    """One run that has been trained, or several seeds of it."""

    outcome: Outcome

    def __repr__(self) -> str:
        return f"Trained({self.result}, {self.folder})"

    @property
    def result(self) -> Result:
        """The figures, of all seeds together where there are several."""
        return self.outcome.result

    @property
    def folder(self) -> Path:
        """Where result and picture are."""
        return self.outcome.folder

    @property
    def runs(self) -> tuple[Path, ...]:
        """The folder of each seed."""
        return self.outcome.runs

    @cached_property
    def kind(self) -> Kind[Any]:
        """What kind of run it is."""
        return kind_of(self.outcome.spec.experiment)

    def table(self) -> list[dict[str, Any]]:
        """A row for each figure, with its interval; such as a data frame takes."""
        return self.result.table()

    def metrics(self, run: int = 0, /) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl`` of one of ``runs``, one for each iteration; such as a data frame takes."""
        return RunFolder(self.runs[run]).metrics()

    def plot(self) -> Figure:
        """The learning curves of all seeds.

        Raises:
            UserError: if the runs have ended before anything was measured.
        """
        figures = self.kind.figures([RunFolder(path) for path in self.runs])
        if not figures:
            raise UserError(f"the runs below {self.folder} have nothing to draw", "train them for longer")
        return next(iter(figures.values()))

    def evaluate(self, run: int = 0, /, **options: Any) -> Judged:
        """Judge the policy of one of ``runs`` again; options, ``seed`` too, as of :func:`synrl_ray.evaluate`."""
        return evaluate(self.runs[run], **options)


def train(
    experiment: str | AnyExperiment | None = None,
    /,
    *,
    policy: PolicyKind | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    num_workers: int | None = None,
    num_learners: int | None = None,
    gpus_per_learner: float | None = None,
    stop_steps: int | None = None,
    settings: Settings | None = None,
    config: str | Path | None = None,
    run_dir: str | Path | None = None,
    storage: str | None = None,
    address: str | None = None,
    resume: str | Path | None = None,
    trust: bool = False,
    env: str | None = None,
    track: Tracker | None = None,
    watch: Watcher | None = None,
) -> Trained:
    """Train an experiment, or go on with a run that was stopped; as ``synrl train`` does.

    A local Ray is started and ended, unless one runs in this process or ``address`` names a cluster.

    Args:
        experiment: id, as ``synrl list`` shows it, or the experiment itself.
        policy: ``"spiking"``, ``"ann"`` or ``"tabular"``; the experiment's first one by default.
        seed: of the run; 0 where neither ``seed`` nor ``seeds`` is given.
        seeds: train this many, 0 to N - 1, as many at a time as there are CPUs.
        num_workers: env runners in processes of their own.
        num_learners: learners in processes of their own, which share each minibatch.
        gpus_per_learner: GPUs of each learner, of each worker of a meta-learner, or of the trainer where that learns: a
            share of one, or one; 0 learns on the CPU. A run that is resumed may have another number.
        stop_steps: environment steps after which training ends.
        settings: what to replace: setting → value, or ``"key=value"`` texts.
        config: a JSON file of such settings; ``settings`` come after it.
        run_dir: the run's folder, with ``seeds`` the folder of the runs; ``runs/EXPERIMENT/...`` by default.
        storage: where to copy each run at every checkpoint, an fsspec URL or a folder.
        address: host:port of a Ray cluster.
        resume: go on with the run in this folder, or with the copy at this URL.
        trust: load checkpoints, and import modules, of a run that this user has not made on this machine.
        env: instead of an experiment, the environment that one is made for, whose settings follow from its spaces; see
            :func:`synrl_ray.make_experiment`. What was chosen, and why, is printed on standard error.
        track: ``"mlflow"`` or ``"wandb"``: send rows, settings, result and policy there as well, to where their own
            variables say.
        watch: is told of the progress; by default it is shown on standard error.

    Raises:
        UserError: for what the caller can mend. Nothing is half-written then.
        KeyboardInterrupt: after Ctrl-C, with a checkpoint on disk and the command that goes on.
    """
    place = None if run_dir is None else Path(run_dir)
    with watch_runs() if watch is None else nullcontext(watch) as told:
        options: dict[str, Any] = {"address": address, "watch": told, "trust": trust, "storage": copy_place(storage)}
        options["track"] = track
        if resume is not None:
            fixed = {"EXPERIMENT": experiment, "--seed": seed, "--seeds": seeds, "--set": settings, "--config": config}
            fixed |= {"--run-dir": None if is_url(str(resume)) else run_dir, "--policy": policy}
            fixed |= {"--env": env, "--num-workers": num_workers, "--num-learners": num_learners}
            given = [name for name, value in fixed.items() if value is not None]
            if given:
                raise UserError(f"--resume does not go with {given[0]}", "a resumed run keeps its own settings")
            folder = fetched(str(resume), place) if is_url(str(resume)) else located(Path(resume))
            options |= {"stop_steps": stop_steps, "gpus_per_learner": gpus_per_learner}
            return Trained(resume_run(folder, kind_of_run(folder), **options))
        specs = make_specs(
            experiment,
            policy,
            seed=seed,
            seeds=seeds,
            num_workers=num_workers or 0,
            num_learners=num_learners or 0,
            gpus_per_learner=gpus_per_learner or 0.0,
            stop_steps=stop_steps,
            settings=settings,
            config=config,
            env=env,
        )
        if env is not None:
            options["watch"] = _with_head(told, chosen_block(specs[0].experiment_as(Experiment)))
        folders = run_folders(specs, place, several=seeds is not None)
        return Trained(train_seeds(specs, folders, kind_of(specs[0].experiment), **options))


def _with_head(watch: Watcher, head: str) -> Watcher:
    """The watcher behind a text that is printed once a run begins, and not above an error that comes before."""
    heads = [head]

    def watch_below(progress: Progress) -> None:
        if heads:
            print(heads.pop(), file=Lasting(sys.stderr), flush=True)
        watch(progress)

    return watch_below
