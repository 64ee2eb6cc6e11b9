"""From a meta-trained learner to ``result.json`` and its picture; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from synrl_ray.evaluation.curves import Curve, plot_learning_curve
from synrl_ray.evaluation.statistics import summarise
from synrl_ray.experiment import MetaExperiment, MetaTarget
from synrl_ray.kinds.meta.judging import Judge
from synrl_ray.kinds.result import title_of, versions
from synrl_ray.meta.families import family_of
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from synrl_ray.meta.maml import MamlModel
    from synrl_ray.meta.maml_rl import MamlPolicy
    from synrl_ray.settings.meta import AnyTasks

SCORES = ("regret", "accuracy", "loss")
"""What learners are judged by; the first of them that is known is the one that counts."""


def finish(folder: RunFolder, spec: RunSpec, judge: Judge, position: Position) -> dict[str, Any]:
    """Judge on test tasks; write ``result.json`` and the pictures."""
    experiment, title = spec.experiment_as(MetaExperiment), title_of([folder])
    judged = judge.on_test_tasks(experiment.evaluation.tasks, experiment.evaluation.inner_steps)
    judged |= judge.compare(experiment, position.steps, folder.path, title)
    result = {
        "experiment": experiment.id,
        "policy": spec.policy,
        "seed": spec.seed,
        "meta_iterations": position.steps,
        "wall_seconds": round(position.wall_seconds, 2),
        "seconds_per_meta_iteration": round(position.wall_seconds / max(position.steps, 1), 5),
        "num_workers": spec.num_workers,
        **judged,
        "target_reached": None if experiment.target is None else reached(experiment.target, judged),
        "versions": versions(),
    }
    folder.write_result(result)
    draw([folder], folder.path / "learning_curve.png")
    judge.draw(folder.path, title)
    return result


def judge_by_official_runs(
    maml: MamlModel | MamlPolicy, tasks: AnyTasks, *, trained_on: str, inner_steps: int
) -> dict[str, Any]:
    """Scores on the 20 official one-shot runs of Omniglot, and the protocol.

    Raises:
        UserError: for a learner that they do not fit, or a missing archive.
    """
    from synrl_ray.data.omniglot_runs import NUM_RUNS, official_runs
    from synrl_ray.meta.judging import figures, judge_all
    from synrl_ray.meta.official_runs import official_tasks, require_fit

    require_fit(tasks, trained_on)
    return {
        **figures(judge_all(cast("MamlModel", maml), official_tasks(official_runs()), inner_steps)),
        "protocol": {
            "data": "Omniglot, the official one-shot runs",
            "trained_on": trained_on,
            "tasks": "20-way 1-shot",
            "test_tasks": NUM_RUNS,
            "inner_steps": inner_steps,
            "interval": "1.96 standard errors over runs",
        },
    }


def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
    """Each seed's score, and their mean with a stratified-bootstrap interval over seeds."""
    target = spec.experiment_as(MetaExperiment).target
    first = results[0]
    combined: dict[str, Any] = {
        "experiment": first["experiment"],
        "policy": first["policy"],
        "seeds": [r["seed"] for r in results],
        "meta_iterations": [r["meta_iterations"] for r in results],
        "wall_seconds": [r["wall_seconds"] for r in results],
        "protocol": first["protocol"] | {"interval": "95 % bootstrap over seeds"},
        "versions": first["versions"],
    }
    for name in (*SCORES, "regret_stochastic"):
        if name in first:
            values = [r[name] for r in results]
            summary = summarise(values)
            combined |= {
                name: summary.mean,
                f"{name}_per_seed": values,
                f"{name}_ci95": list(summary.ci95),
                f"{name}_by_step": [
                    sum(v) / len(v) for v in zip(*(r[f"{name}_by_step"] for r in results), strict=True)
                ],
            }
    if "untrained" in first:  # the same network for every seed
        combined["untrained"] = first["untrained"]
    if target is not None:
        combined["seeds_that_end_at_target"] = sum(reached(target, r) for r in results)
    return combined


def reached(target: MetaTarget, figures: dict[str, Any]) -> bool:
    """Whether the score is as good as was asked for."""
    if target.accuracy is not None and figures["accuracy"] < target.accuracy:
        return False
    most = {"loss": target.loss, "regret": target.regret}
    return all(bound is None or figures[name] <= bound for name, bound in most.items())


def draw(folders: Sequence[RunFolder], path: Path) -> None:
    """The score on validation tasks against meta-iterations."""
    found = {name for folder in folders for row in folder.metrics() for name in SCORES if f"evaluation_{name}" in row}
    name = next((name for name in SCORES if name in found), None)
    if name is None:
        return
    column = f"evaluation_{name}"
    rows = [folder.metrics("meta_iterations", column) for folder in folders]
    if not all(rows):
        return
    experiment = folders[0].spec().experiment_as(MetaExperiment)
    policy = folders[0].spec().policy
    plot_learning_curve(
        [Curve(policy, [r["meta_iterations"] for r in seed], [r[column] for r in seed]) for seed in rows],
        path,
        title=title_of(folders, family_of(experiment.tasks).learner_name),
        target=getattr(experiment.target, name, None),
        xlabel="meta-iterations",
        ylabel=f"{name} on validation tasks after adaptation",
        yunit="",
        line="validation",
    )
