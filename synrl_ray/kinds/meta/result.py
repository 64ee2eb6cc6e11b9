"""From a meta-trained learner to ``result.json`` and its picture; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from synrl_ray.evaluation.curves import LEARNING_CURVE, Curve, learning_curve
from synrl_ray.evaluation.inner_steps_figure import INNER_STEPS, AdaptedSeed, inner_steps_figure
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.evaluation.statistics import crossed_bootstrap_interval
from synrl_ray.experiment import MetaExperiment, MetaTarget
from synrl_ray.kinds.meta.comparison import combine_comparisons
from synrl_ray.kinds.meta.judging import Judge, statistics_of
from synrl_ray.kinds.meta.scores import SCORES, TaskScores, result_of
from synrl_ray.kinds.result import (
    bounds_of,
    column,
    combined,
    over_seeds,
    provenance_of,
    target_reached,
    targets_reached,
    title_of,
    training_of,
)
from synrl_ray.meta.families import family_of
from synrl_ray.results import Adaptation, Interval, Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from synrl_ray.meta.maml import MamlModel
    from synrl_ray.meta.meta_learner import MetaLearner
    from synrl_ray.settings.meta import AnyTasks, Learner


def finish(folder: RunFolder, spec: RunSpec, judge: Judge, position: Position) -> Result:
    """Judge on test tasks; write ``result.json`` and the pictures."""
    experiment, title = spec.experiment_as(MetaExperiment), title_of([folder])
    protocol, target = experiment.evaluation, experiment.target
    found = judge.on_test_tasks(experiment.id, protocol.tasks, protocol.inner_steps)
    result = replace(
        found,
        training=(training_of(spec, position, "meta_iterations"),),
        target=target_reached(bounds_of(experiment), None, target is not None and reached(target, found)),
        comparison=judge.compare(experiment, position.steps, folder.path, title),
        provenance=provenance_of(spec),
    )
    folder.write_result(result)
    save_figures(figures([folder]), folder.path)
    judge.draw(folder.path, title)
    return result


def judge_by_official_runs(
    maml: MetaLearner,
    learner: Learner,
    tasks: AnyTasks,
    experiment: str | None,
    *,
    trained_on: str,
    inner_steps: int,
) -> Result:
    """The result of the 20 official one-shot runs of Omniglot.

    Raises:
        UserError: for a learner that they do not fit, or a missing archive.
    """
    from synrl_ray.data.omniglot_runs import NUM_RUNS, official_runs
    from synrl_ray.meta.judging import judge_all, scores_of
    from synrl_ray.meta.official_runs import official_tasks, require_fit

    require_fit(tasks, trained_on)
    scores = scores_of(judge_all(cast("MamlModel", maml), official_tasks(official_runs()), inner_steps))
    protocol = {
        "data": "Omniglot, the official one-shot runs",
        "trained_on": trained_on,
        "tasks": "20-way 1-shot",
        "test_tasks": NUM_RUNS,
        "inner_steps": inner_steps,
        **statistics_of(cast("MamlModel", maml)),
    }
    return result_of(TaskScores(scores), learner.kind, experiment, protocol, over="official runs")


def combine(results: Sequence[Result], spec: RunSpec) -> Result:
    """Each seed's score, and their mean with a bootstrap interval over seeds."""
    experiment = spec.experiment_as(MetaExperiment)
    target, first = experiment.target, results[0]
    found = [over_seeds(results, name, name, np.mean) for name in first.figures]
    parts = [result.adaptation for result in results if result.adaptation is not None]
    by_step = {  # after the steps that every seed was judged after
        name: tuple(sum(each) / len(each) for each in zip(*(part.by_step[name] for part in parts), strict=False))
        for name in first.figures
    }
    return combined(
        results,
        spec,
        score=first.score,
        figures={name: value for figures, _ in found for name, value in figures.items()},
        intervals=tuple(_over_tasks_too(parts, interval) for _, intervals in found for interval in intervals),
        per_seed={name: column(results, name) for name in first.figures},
        adaptation=Adaptation(by_step=by_step, untrained=parts[0].untrained),  # the same network for every seed
        comparison=combine_comparisons([result.comparison for result in results]),
        target=targets_reached(
            results,
            bounds_of(experiment),
            [target is not None and reached(target, result) for result in results],
            in_training=False,
        ),
    )


def _over_tasks_too(parts: Sequence[Adaptation], interval: Interval) -> Interval:
    """The interval over seeds and distinct tasks, where every seed says how it did on each of the same tasks."""
    scores = [part.tasks.get(interval.of, ()) for part in parts]
    if len(set(map(len, scores))) > 1 or not scores[0]:
        return interval
    low, high = crossed_bootstrap_interval(np.array(scores), parts[0].copies)
    return replace(interval, low=low, high=high, over="seeds and distinct tasks")


def reached(target: MetaTarget, result: Result) -> bool:
    """Whether the score is as good as was asked for."""
    least = {"accuracy": target.accuracy, "mean_return": target.mean_return}
    if any(bound is not None and result.figure(name) < bound for name, bound in least.items()):
        return False
    most = {"loss": target.loss, "regret": target.regret}
    return all(bound is None or result.figure(name) <= bound for name, bound in most.items())


def figures(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    """The score on validation tasks against meta-iterations; and that on test tasks against inner steps, where all
    have ended."""
    return {**_learning_curves(folders), **_inner_steps(folders)}


def _inner_steps(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    results = [result for folder in folders if (result := folder.result()) is not None]
    parts = [result.adaptation for result in results if result.adaptation is not None]
    if len(parts) < len(folders):
        return {}
    name, policy = results[0].score, folders[0].spec().policy
    known = (len(part.by_step.get(name, ())) == len(part.errors.get(name, ())) > 0 for part in parts)
    if not all(known):  # results of before do not tell how tasks differ
        return {}
    seeds = [
        AdaptedSeed(f"{policy}, seed {folder.spec().seed}", part.by_step[name], part.errors[name])
        for folder, part in zip(folders, parts, strict=True)
    ]
    title = title_of(folders, family_of(folders[0].spec().experiment_as(MetaExperiment).tasks).learner_name)
    label = f"{name.replace('_', ' ')} on test tasks"
    return {INNER_STEPS: inner_steps_figure(seeds, parts[0].untrained.get(name, ()), title=title, ylabel=label)}


def _learning_curves(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    found = {name for folder in folders for row in folder.metrics() for name in SCORES if f"evaluation_{name}" in row}
    name = next((name for name in SCORES if name in found), None)
    if name is None:
        return {}
    column = f"evaluation_{name}"
    rows = [folder.metrics("meta_iterations", column) for folder in folders]
    if not all(rows):
        return {}
    experiment = folders[0].spec().experiment_as(MetaExperiment)
    policy = folders[0].spec().policy
    curve = learning_curve(
        [Curve(policy, [r["meta_iterations"] for r in seed], [r[column] for r in seed]) for seed in rows],
        title=title_of(folders, family_of(experiment.tasks).learner_name),
        target=getattr(experiment.target, name, None),
        xlabel="meta-iterations",
        ylabel=f"{name.replace('_', ' ')} on validation tasks after adaptation",
        yunit="",
        line="validation",
    )
    return {LEARNING_CURVE: curve}
