"""Run a study's trials under Tune until all have ended, from the start or from where an earlier session was.

The study's own files are what is resumed, not Tune's (``Tuner.restore``). Tune's are pickles, which only their writer
may load, are written every ten seconds and not in one piece, and leave out what a scheduler has seen. Here, a trial is
a run folder with a checkpoint from its last evaluation, ``trials.jsonl`` is replaced whole after each of them, and a
new session hands Tune the unfinished trials again and tells its scheduler and Optuna what was seen. Whatever ends a
session, the next one loses what its running trials did since their last evaluations, and nothing else. The exception is
population-based training, whose ranking starts anew among the trials that are left.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError
from synrl_ray.evaluation.saving import save_figure
from synrl_ray.files import remove
from synrl_ray.interrupt import StopRequest
from synrl_ray.running.again import resume_command
from synrl_ray.running.gpus import gpus_of
from synrl_ray.running.imports import admit_modules
from synrl_ray.running.lock import require_no_links
from synrl_ray.running.ray_session import ray_session
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.seal_key import seal_key
from synrl_ray.running.trust import require_resumable
from synrl_ray.tuning.study import Study
from synrl_ray.tuning.study_folder import STUDY_FILE, StudyFolder
from synrl_ray.tuning.trials import Trial, best_trial, unfinished

_TUNE = ".tune"  # Tune's own files, gone when a session ends


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """What a search has found."""

    study: Study
    trials: list[Trial]
    best: Trial
    settings: dict[str, Any]
    """What ``best.json`` holds."""
    folder: Path


def start_study(path: Path, study: Study, *, address: str | None, say: Callable[[str], None]) -> SearchOutcome:
    """Search in a new folder.

    Raises:
        UserError: before anything is written, if the folder is taken, the study cannot work, or a package is missing;
            later, if every trial fails.
        KeyboardInterrupt: after Ctrl-C.
    """
    StudyFolder.require_free(path)
    _check(study)
    gpus = gpus_of(study.run, study.kind)
    with ray_session(address, num_workers=study.run.num_processes, trainer_too=True, gpus=gpus):
        return search(StudyFolder.create(path, study), say, address=address)


def resume_study(path: Path, *, address: str | None, say: Callable[[str], None], trust: bool = False) -> SearchOutcome:
    """Go on with a study; one that has ended is summarised again.

    Args:
        path: the study's folder.
        address: of a Ray cluster; a local Ray is started without it.
        say: is told what happens, a line at a time.
        trust: load checkpoints that were not made by this user on this machine, and import the modules of
            environments and networks, those of choices among them; RLlib's checkpoints can execute anything.

    Raises:
        UserError: for a folder that is no study's, is damaged, or is not to be trusted; see also :func:`start_study`.
        KeyboardInterrupt: after Ctrl-C.
    """
    folder = StudyFolder.open(path)
    study, trials = folder.study(), folder.trials()
    if len(trials) >= study.num_trials and not unfinished(trials):
        return _conclude(folder, study, trials)
    admit_modules(study.kind.modules(study.experiments()), folder.path / STUDY_FILE, trust=trust)
    require_no_links(path, "study folder")
    ended = {trial.name for trial in trials if trial.state != "running"}
    for run in sorted(folder.runs.iterdir()) if folder.runs.is_dir() else []:
        if run.is_dir() and run.name not in ended:  # also a folder that waits for a trial still to come
            require_resumable(RunFolder(run), study.kind, trust=trust)
    _check(study)
    gpus = gpus_of(study.run, study.kind)
    with ray_session(address, num_workers=study.run.num_processes, trainer_too=True, gpus=gpus):
        return search(folder, say, trust=trust, address=address)


def search(
    folder: StudyFolder, say: Callable[[str], None], *, trust: bool = False, address: str | None = None
) -> SearchOutcome:
    """Run what is left of a study. Ray must be running; ``trust`` as in :func:`resume_study`.

    Raises:
        UserError: if the folder is damaged or in use, or every trial fails.
        KeyboardInterrupt: after Ctrl-C; the study can be resumed.
    """
    from synrl_ray.tuning.recording import Recorder, Stopped

    study, trials = folder.study(), folder.trials()
    staging = folder.path.absolute() / _TUNE
    with folder.locked(), StopRequest() as stop:
        remove(staging)
        try:
            _run_tune(folder, study, trials, staging, Recorder(folder, study, trials, stop, say), trust=trust)
        except Stopped:
            raise KeyboardInterrupt(
                f"continue with `{resume_command('tune', folder.path, address, trust=trust)}`"
            ) from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return _conclude(folder, study, trials)


def _run_tune(
    folder: StudyFolder, study: Study, trials: list[Trial], staging: Path, recorder: Any, *, trust: bool
) -> None:
    _quiet()
    from ray import tune

    from synrl_ray.tuning.scheduling import make_scheduler
    from synrl_ray.tuning.searching import TrialSource
    from synrl_ray.tuning.trainable import INDEX, TrialTrainable

    def name_of(trial: Any) -> str:
        return f"{trial.config[INDEX]:04d}"

    # Of the trainer, each env runner and learner, or worker of a meta-learner; Ray starts no more trials than fit.
    bundles = gpus_of(study.run, study.kind).bundles(study.run.num_processes)
    scheduler, source = make_scheduler(study, trials), TrialSource(study, trials)
    own = {"study": study.to_json(), "folder": str(folder.path.absolute()), "trust": trust}
    trainable = tune.with_parameters(TrialTrainable, **own)
    tune.run(
        tune.with_resources(trainable, tune.PlacementGroupFactory(bundles)),
        name="session",
        storage_path=str(staging),
        num_samples=study.num_trials - len(trials) + len(unfinished(trials)),
        search_alg=source,
        scheduler=scheduler,
        max_concurrent_trials=study.max_concurrent,
        callbacks=[recorder],
        trial_name_creator=name_of,
        trial_dirname_creator=name_of,
        reuse_actors=True,
        raise_on_failed_trial=False,
        verbose=0,
    )


def _quiet() -> None:
    """Keep Tune from changing folders, writing logs of its own and catching Ctrl-C."""
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its header ignores verbose=0
    for name in ("ray.tune", "ray.train"):  # what fails is said once, by the recorder
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _check(study: Study) -> None:
    seal_key(create=False)  # one that others know is refused at once
    study.require_installed()
    if study.scheduler == "pbt":
        study.perturbed()
        if study.search != "random":
            raise UserError("--scheduler pbt changes settings by itself", f"leave --search {study.search} out")
    study.kind.check(study.run)
    study.experiments()  # with each option of a choice


def _conclude(folder: StudyFolder, study: Study, trials: list[Trial]) -> SearchOutcome:
    """Write ``best.json`` and the picture."""
    from synrl_ray.tuning.figure import study_figure

    best = best_trial(trials)
    if best is None:
        reason = next((trial.error for trial in trials if trial.error), "none was evaluated")
        raise UserError(f"all {len(trials)} trials failed, the first with: {reason}", "narrow the search space")
    settings = {**study.settings, **best.settings}
    folder.write_best(settings)
    save_figure(study_figure(study, trials, best), folder.path / "tuning.png")
    return SearchOutcome(study=study, trials=trials, best=best, settings=settings, folder=folder.path)
