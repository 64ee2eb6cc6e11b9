"""Run one training in this process, or several seeds at a time in processes of Ray's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from synrl_ray.errors import UserError, user_error_in
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.interrupt import StopRequest
from synrl_ray.policies.description import damage_of
from synrl_ray.results import Result, write_result
from synrl_ray.running.again import resume_command, train_command
from synrl_ray.running.folder_copy import CopyTarget
from synrl_ray.running.gpus import NO_GPUS, Gpus, gpus_of
from synrl_ray.running.imports import admit_modules
from synrl_ray.running.kind import Kind, Outcome
from synrl_ray.running.progress import Progress, Watcher
from synrl_ray.running.ray_session import ray_session
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.seal_key import seal_key
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.tracking import Tracker, prepare
from synrl_ray.running.training import Interrupted, complete_run, train_run
from synrl_ray.running.trust import require_resumable


def train_seeds(
    specs: Sequence[RunSpec],
    paths: Sequence[Path],
    kind: Kind[Any],
    *,
    address: str | None,
    watch: Watcher,
    trust: bool = False,
    storage: str | None = None,
    track: Tracker | None = None,
) -> Outcome:
    """Train the runs, each into its folder; with several, as many at a time as there are CPUs.

    Several seeds that were stopped go on when the same command is given again; ``trust`` as in :func:`resume_run`.
    With ``storage``, an fsspec URL, each run is copied there, to ``EXPERIMENT/POLICY-seedN``; ``track`` as in
    :func:`~synrl_ray.running.training.train_run`.

    Raises:
        UserError: before anything is written, if a folder is taken or the environment does not fit.
    """
    seal_key(create=False)  # one that others know is refused at once
    several = len(specs) > 1
    for path, spec in zip(paths, specs, strict=True):
        if not (several and _is_same_run(path, spec)):
            RunFolder.require_free(path)
        elif RunFolder(path).result() is None:
            require_resumable(RunFolder(path), kind, trust=trust)
    gpus = gpus_of(specs[0], kind)
    kind.check(specs[0])
    copies = [f"{storage}/{spec.experiment.id}/{spec.policy}-seed{spec.seed}" if storage else None for spec in specs]
    begun = [RunFolder(path) for path in paths]
    for folder, url in zip(begun, copies, strict=True):
        if url is not None:
            folder.copy.require_free(url)
        else:
            folder.copy.require_own()
    if several and all(folder.result() is not None for folder in begun):  # nothing is left that needs Ray
        _copy(begun, copies)
        return _summarise(begun, specs, kind)
    with ray_session(address, num_workers=specs[0].num_processes, trainer_too=several, gpus=gpus):
        modules = kind.modules([specs[0].experiment])
        folders = [
            RunFolder(path) if several and _is_same_run(path, spec) else RunFolder.create(path, spec, modules)
            for path, spec in zip(paths, specs, strict=True)
        ]
        _copy(folders, copies)
        if not several:
            result = _train_here(folders[0], specs[0], kind, watch, trust=trust, address=address, track=track)
            return Outcome(result=result, folder=paths[0], runs=tuple(paths), spec=specs[0])
        place = folders[0].path.parent
        if track is not None:
            prepare(track)
        same = train_command(
            specs[0], place, seeds=len(specs), address=address, storage=storage, trust=trust, track=track
        )
        again = f"continue with `{same}`" if same else "give the same command again to continue"
        _train_elsewhere(folders, specs, kind, watch, gpus, trust=trust, again=again, track=track)
    return _summarise(folders, specs, kind)


def resume_run(
    path: Path,
    kind: Kind[Any],
    *,
    stop_steps: int | None,
    address: str | None,
    watch: Watcher,
    trust: bool = False,
    storage: str | None = None,
    gpus_per_learner: float | None = None,
    track: Tracker | None = None,
) -> Outcome:
    """Go on with a run from its checkpoint; a run that has ended is left as it is.

    Args:
        path: the run's folder.
        kind: of the run that is in it.
        stop_steps: environment steps at which the run ends, in place of those that it was planned for. Its schedules
            stay as they are.
        address: of a Ray cluster; a local Ray is started without it.
        watch: is told of the progress.
        trust: load a checkpoint that was not made by this user on this machine, and import the module that its
            environment is in; RLlib's checkpoints can execute anything.
        storage: where to copy the run, an fsspec URL or a path; where it was copied so far if not given.
        gpus_per_learner: another number from now on, such as 0 on a machine without a GPU.
        track: the tracker that what follows is sent to as well.

    Raises:
        UserError: for a folder that is no run's, an end that the run cannot have any more, a checkpoint or a module of
            its environment that is not to be trusted, or a place of its copy that is another run's or that this user
            has not named.
    """
    folder = RunFolder.open(path)
    spec, result = folder.spec(), folder.result()
    if result is None:
        admit_modules(kind.modules([spec.experiment]), path / "config.json", trust=trust)
        require_resumable(folder, kind, trust=trust)
    wanted = spec if stop_steps is None else _with_end(spec, kind, stop_steps)
    if result is not None and wanted != spec:
        remedy = f"start a new one with --stop-steps {stop_steps} and another --run-dir"
        raise UserError(f"the run in {path} has ended", remedy)
    gpus = NO_GPUS
    if result is None:
        wanted = wanted if gpus_per_learner is None else replace(wanted, gpus_per_learner=gpus_per_learner)
        gpus = gpus_of(wanted, kind)
        kind.check(wanted)
    if storage is not None:  # whatever is refused was refused before
        with folder.locked():
            folder.copy.begin(storage)
    folder.copy.require_own()
    if result is None:
        with ray_session(address, num_workers=wanted.num_processes, gpus=gpus):
            if wanted != spec:
                with folder.locked():  # not while another process trains here
                    folder.write_spec(wanted, kind.modules([wanted.experiment]))
            result = _train_here(folder, wanted, kind, watch, trust=trust, address=address, track=track)
    else:
        complete_run(folder, spec, kind, result)
        folder.copy.complete()
    return Outcome(result=result, folder=path, runs=(path,), spec=wanted)


def _with_end(spec: RunSpec, kind: Kind[Any], stop_steps: int) -> RunSpec:
    if stop_steps < 1:
        raise UserError(f"--stop-steps {stop_steps} is too small", "it is at least 1")
    return replace(spec, experiment=kind.with_end(spec.experiment, stop_steps))


def _is_same_run(path: Path, spec: RunSpec) -> bool:
    return (path / "config.json").is_file() and RunFolder.open(path).spec() == spec


def _copy(folders: Sequence[RunFolder], urls: Sequence[str | None]) -> None:
    """Note where the folders' copies belong, and complete those of runs that have ended."""
    for folder, url in zip(folders, urls, strict=True):
        if url is not None:
            with folder.locked():
                folder.copy.begin(url)
        if folder.result() is not None:
            folder.copy.complete()


def _train_here(
    folder: RunFolder,
    spec: RunSpec,
    kind: Kind[Any],
    watch: Watcher,
    *,
    trust: bool,
    address: str | None,
    track: Tracker | None,
) -> Result:
    try:
        return train_run(folder, spec, kind, watch, trust=trust, track=track)
    except (Interrupted, KeyboardInterrupt):
        again = resume_command("train", folder.path, address, track, trust=trust)
        raise KeyboardInterrupt(f"continue with `{again}`") from None


def _train_elsewhere(
    folders: Sequence[RunFolder],
    specs: Sequence[RunSpec],
    kind: Kind[Any],
    watch: Watcher,
    gpus: Gpus,
    *,
    trust: bool,
    again: str,
    track: Tracker | None,
) -> None:
    import ray
    from ray.util.queue import Empty, Queue

    has = ray.cluster_resources()
    at_a_time = max(1, int(has.get("CPU", 1)) // (1 + specs[0].num_processes))
    if gpus.needed:
        at_a_time = max(1, min(at_a_time, gpus.runs_on(int(has.get("GPU", 0)))))
    mailbox = Queue(actor_options={"num_cpus": 0})
    remotely = ray.remote(num_cpus=1, num_gpus=gpus.of_trainer, max_retries=0)(_train_remotely)
    waiting = [(f, spec) for f, spec in zip(folders, specs, strict=True) if f.result() is None]
    running: list[Any] = []
    first_error: Exception | None = None
    with StopRequest() as stop:
        while waiting or running:
            while waiting and len(running) < at_a_time and not stop.requested:
                folder, spec = waiting.pop(0)
                what = (str(folder.path.absolute()), spec.to_json(), kind, folder.copy.target, trust, track)
                running.append(remotely.remote(*what, mailbox))
            finished, running = ray.wait(running, timeout=0.5) if running else ([], [])
            first_error = first_error or _error_of(finished)
            try:
                while True:
                    watch(mailbox.get_nowait())
            except Empty:
                pass
            if stop.requested:
                for reference in running:
                    ray.cancel(reference)  # arrives there as Ctrl-C: the run ends with a checkpoint
                ray.wait(running, num_returns=len(running), timeout=60) if running else None
                raise KeyboardInterrupt(again)
    if first_error is not None:
        raise first_error


def _train_remotely(
    path: str,
    spec: dict[str, Any],
    kind: Kind[Any],
    target: CopyTarget | None,
    trust: bool,
    track: Tracker | None,
    mailbox: Any,
) -> None:
    def tell(progress: Progress) -> None:
        mailbox.put_nowait(progress)

    folder = RunFolder(Path(path))
    folder.copy.go_on(target)
    train_run(folder, RunSpec.from_json(spec), kind, tell, trust=trust, track=track)


def _error_of(finished: Sequence[Any]) -> Exception | None:
    import ray

    for reference in finished:
        try:
            ray.get(reference)
        except Exception as error:
            return user_error_in(error) or error  # the other seeds go on
    return None


def _summarise(folders: Sequence[RunFolder], specs: Sequence[RunSpec], kind: Kind[Any]) -> Outcome:
    """Statistics and picture of all seeds, beside the runs."""
    results = [result for folder in folders if (result := folder.result()) is not None]
    if len(results) < len(folders):
        raise UserError(
            f"{len(folders) - len(results)} of {len(folders)} results are not under {folders[0].path.parent}",
            "on a cluster of several nodes, name a shared folder as --run-dir",
        )
    with damage_of(folders[0].path.parent, "restore the results of its runs, or train them again"):
        combined = kind.combine(results, specs[0])
    summary = folders[0].path.parent / f"{specs[0].policy}-{len(specs)}seeds"
    if summary.is_symlink():
        raise UserError(f"{summary} is a link", "put a real folder in its place")
    try:
        summary.mkdir(exist_ok=True)
        write_result(summary, combined)
        save_figures(kind.figures(folders), summary)
    except OSError as error:
        problem = f"{summary} cannot be written ({error.strerror})"
        raise UserError(problem, "mend that, then give the same command again") from error
    runs = tuple(folder.path for folder in folders)
    return Outcome(result=combined, folder=summary, runs=runs, spec=specs[0])
