"""What results of all kinds share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from synrl_ray.evaluation.statistics import NUM_RESAMPLES, Statistic, iqm, stratified_bootstrap_interval
from synrl_ray.experiment import AnyExperiment
from synrl_ray.results import Interval, Provenance, Result, TargetReached, Training, code_commit, versions
from synrl_ray.running.again import train_words
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

BOOTSTRAP = f"percentile bootstrap, {NUM_RESAMPLES:,} resamples"


def title_of(folders: Sequence[RunFolder], trained: str = "policy") -> str:
    """Experiment, what was trained and seeds, for a picture."""
    spec, seeds = folders[0].spec(), ", ".join(str(folder.spec().seed) for folder in folders)
    return f"{spec.experiment.id}: {spec.policy} {trained}, seed{'s' * (len(folders) > 1)} {seeds}"


def training_of(spec: RunSpec, position: Position, unit: str, **more: Any) -> Training:
    """How long a run took; ``more`` are further fields of :class:`~synrl_ray.results.Training`."""
    return Training(
        seed=spec.seed,
        unit=unit,
        steps=position.steps,
        wall_seconds=round(position.wall_seconds, 2),
        num_workers=spec.num_workers,
        num_learners=spec.num_learners,
        **more,
    )


def provenance_of(spec: RunSpec) -> Provenance:
    """Where the figures of a run are from."""
    return Provenance(commit=code_commit(), command=command_of(spec), configuration=spec.to_json(), versions=versions())


def command_of(spec: RunSpec, seeds: int | None = None) -> str | None:
    """The command by its bare name: where the program lies on this machine is nobody's business."""
    words = train_words(spec, seeds=seeds)
    return None if words is None else shlex.join(["synrl", *map(str, words)])


def target_reached(bounds: Mapping[str, float] | None, in_training: bool | None, at_end: bool) -> TargetReached | None:
    """Of one run; ``None`` where there is no target."""
    if bounds is None:
        return None
    return TargetReached(
        bounds=bounds, in_training=None if in_training is None else int(in_training), at_end=int(at_end)
    )


def column(results: Sequence[Result], figure: str) -> tuple[float | None, ...]:
    """A figure of each."""
    return tuple(result.figures.get(figure) for result in results)


def over_seeds(
    results: Sequence[Result], figure: str, of: str, statistic: Statistic = iqm
) -> tuple[dict[str, float | None], tuple[Interval, ...]]:
    """A statistic over seeds, one score each, and its interval; unknown unless all have one.

    Args:
        results: one for each seed.
        figure: whose values are the scores.
        of: name of the statistic among the figures of all seeds.
        statistic: of the scores.
    """
    return of_scores(column(results, figure), of, statistic)


def of_scores(
    scores: Sequence[float | None], of: str, statistic: Statistic = iqm
) -> tuple[dict[str, float | None], tuple[Interval, ...]]:
    """The same of the scores themselves."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return {of: None}, ()
    low, high = stratified_bootstrap_interval(known, statistic)
    interval = Interval(of=of, low=low, high=high, method=BOOTSTRAP, over="seeds")
    return {of: float(statistic(known, axis=0))}, (interval,)


def combined(results: Sequence[Result], spec: RunSpec, **found: Any) -> Result:
    """The result of several seeds: what all kinds have in common, and the fields that a kind has found.

    Args:
        results: one for each seed.
        spec: of the first of them.
        found: further fields of :class:`~synrl_ray.results.Result`.
    """
    first = results[0]
    made = [result.provenance or Provenance() for result in results]
    commits = {each.commit for each in made}
    configuration = {name: value for name, value in spec.to_json().items() if name != "seed"}
    fields: dict[str, Any] = {
        "experiment": first.experiment,
        "policy": first.policy,
        "protocol": first.protocol,
        "training": tuple(training for result in results for training in result.training),
        "provenance": Provenance(
            commit=made[0].commit if len(commits) == 1 else None,
            command=command_of(spec, len(results)),
            configuration=configuration,
            versions=made[0].versions,
        ),
    }
    return Result(**fields | found)


def targets_reached(
    results: Sequence[Result], bounds: Mapping[str, float] | None, reached: Sequence[bool], *, in_training: bool = True
) -> TargetReached | None:
    """Of several seeds; ``None`` where there is no target.

    Args:
        results: one for each seed.
        bounds: of the target, by figure.
        reached: whether each seed ends at it.
        in_training: whether it is known which seeds reached it during training.
    """
    if bounds is None:
        return None
    found = [training.steps_to_target is not None for result in results for training in result.training]
    return TargetReached(bounds=bounds, in_training=sum(found) if in_training else None, at_end=sum(reached))


def bounds_of(experiment: AnyExperiment) -> dict[str, float] | None:
    """Figure and bound of each part of an experiment's target; ``None`` where there is none."""
    target: Any = experiment.target
    if target is None:
        return None
    return {name: value for name, value in vars(target).items() if name != "source" and value is not None}
