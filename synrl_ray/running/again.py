"""The command that trains a run again, or goes on with it, with the settings that it has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from synrl_ray.commands import command
from synrl_ray.defaults import DEFAULT_ALGORITHM, default_experiment
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnyExperiment, Experiment
from synrl_ray.files import named
from synrl_ray.overrides import changed_settings
from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec


def resume_command(
    verb: str, folder: Path, address: str | None = None, track: str | None = None, *, trust: bool = False
) -> str:
    """The command that goes on with a run (``train``) or a study (``tune``)."""
    words = _given({"--address": address, "--track": track})
    return command(verb, "--resume", folder, *words, *(["--trust"] if trust else []))


def train_command(
    spec: RunSpec,
    run_dir: Path,
    *,
    seeds: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    trust: bool = False,
    track: str | None = None,
) -> str | None:
    """The command that trains a run; ``None`` where its experiment is not at hand.

    Args:
        spec: what to train.
        run_dir: the run's folder, or with ``seeds`` the folder of the runs.
        seeds: how many; without it, the one of ``spec``.
        address, storage, trust, track: see ``synrl train``.
    """
    words: list[str | Path] | None = train_words(spec, seeds=seeds)
    if words is None:
        return None
    usual = Path("runs") / spec.experiment.id
    if run_dir != (usual if seeds is not None else usual / f"{spec.policy}-seed{spec.seed}"):
        words += ["--run-dir", run_dir]
    words += _given({"--address": address, "--storage": storage, "--track": track})
    return command(*words, *(["--trust"] if trust else []))


def train_words(spec: RunSpec, *, seeds: int | None = None) -> list[str | Path] | None:
    """The words after ``synrl`` that train a run in its usual folder, or so many seeds of it.

    ``None`` where its experiment is not at hand.
    """
    with suppress(UserError):
        base = _base_of(spec.experiment)
        words: list[str | Path] = ["train", *experiment_words(base)]
        if spec.policy != base.policies[0]:
            words += ["--policy", spec.policy]
        if seeds is not None:
            words += ["--seeds", str(seeds)]
        else:
            words += ["--seed", str(spec.seed)] if spec.seed else []
        for option, value in (("--num-workers", spec.num_workers), ("--num-learners", spec.num_learners)):
            words += [option, str(value)] if value else []
        words += ["--gpus-per-learner", f"{spec.gpus_per_learner:g}"] if spec.gpus_per_learner else []
        changed = [*chosen_algorithm(spec.experiment), *changed_settings(spec.experiment, base)]
        return words + (["--set", *changed] if changed else [])
    return None


def experiment_words(experiment: AnyExperiment) -> list[str]:
    """The words of a command that say which experiment: its id, or the environment that it was made for."""
    return [experiment.id] if experiment.made_for is None else ["--env", experiment.made_for]


def _base_of(experiment: AnyExperiment) -> AnyExperiment:
    """The experiment without what was set by hand.

    Raises:
        UserError: where its file is not at hand.
    """
    if experiment.made_for is None:
        return get_experiment(experiment.id)
    made = cast(Experiment, experiment)
    assert made.facts is not None
    return default_experiment(experiment.made_for, made.facts, made.algorithm.name)


def chosen_algorithm(experiment: AnyExperiment) -> list[str]:
    """The setting that chooses another algorithm than the default, where there is one."""
    if experiment.made_for is None:
        return []
    name = cast(Experiment, experiment).algorithm.name
    return [] if name == DEFAULT_ALGORITHM else [f"algorithm={name}"]


def twin_command(spec: RunSpec, folder: Path) -> str | None:
    """The command for the same run with the other kind of policy; ``None`` where there is none to suggest.

    It trains the twin beside the run, or judges the one that is there.
    """
    others = [kind for kind in spec.experiment.policies if kind != spec.policy]
    if not others:
        return None
    folder = named(folder)
    usual, twin = f"{spec.policy}-seed{spec.seed}", f"{others[0]}-seed{spec.seed}"
    beside = folder.with_name(twin if folder.name == usual else f"{folder.name}-{others[0]}")
    if beside.exists():
        return command("evaluate", beside) if (beside / "policy.json").is_file() else None
    return train_command(replace(spec, policy=others[0]), beside)


def _given(options: Mapping[str, str | None]) -> list[str]:
    """The words of those options that have a value."""
    return [word for option, value in options.items() if value is not None for word in (option, value)]
