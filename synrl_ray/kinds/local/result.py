"""From a trained local agent to ``result.json`` and its pictures; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synrl_ray.evaluation.curves import Curve, plot_learning_curve
from synrl_ray.evaluation.plasticity_figure import draw_plasticity
from synrl_ray.evaluation.statistics import summarise
from synrl_ray.experiment import LocalExperiment, PathTarget, RegretTarget
from synrl_ray.kinds.acting import evaluate_in
from synrl_ray.kinds.episodes import combine_seeds, draw_curves, judgement_of, time_shares, training_of
from synrl_ray.kinds.local.exact import ExactJudge
from synrl_ray.kinds.result import title_of, versions
from synrl_ray.kinds.rllib_trainer import finite
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

RETURN_CURVE = "return_curve.png"
PLASTICITY = "plasticity.png"


def finish(
    folder: RunFolder, spec: RunSpec, policy: LocalPolicy, position: Position, judge: ExactJudge | None
) -> dict[str, Any]:
    """Evaluate by the experiment's protocol and exactly, write ``result.json`` and the pictures."""
    experiment = spec.experiment_as(LocalExperiment)
    protocol = experiment.evaluation
    outcome = evaluate_in(policy, experiment.environment, episodes=protocol.episodes, seed=protocol.first_seed)
    result = {
        **training_of(spec, position),
        "algorithm": experiment.algorithm.name,
        "time_shares": time_shares(folder.metrics()),
        **exact_fields(judge, policy),
        **_to_target(folder, experiment.target),
        **judgement_of(outcome, experiment.environment),
        "energy": None,
        "num_workers": spec.num_workers,
        "versions": versions(),
    }
    folder.write_result(result)  # before the drawing, which shows it
    draw([folder], folder.path / "learning_curve.png")
    distributions = distributions_of(policy.agent, judge)
    draw_plasticity(folder.metrics(), distributions, folder.path / PLASTICITY, title=title_of([folder]))
    return result


def distributions_of(agent: LocalAgent, judge: ExactJudge | None) -> dict[str, np.ndarray]:
    """Every plastic weight; and greedy spikes of the neurons over all states, where these are known."""
    spikes = {} if judge is None else agent.spike_counts(judge.observations)
    return {
        **{name.replace("_", " "): getattr(agent, name).numpy() for name in agent.plastic_names},
        **{f"spikes of {name} over all states": counts for name, counts in spikes.items()},
    }


def exact_fields(judge: ExactJudge | None, policy: LocalPolicy) -> dict[str, Any]:
    """Regret, value and optimum for ``result.json``; ``None`` where there is no table, or the value is infinite."""
    if judge is None:
        return {"regret": None}
    return {name: finite(value) for name, value in judge.describe(policy.agent).items()}


def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
    """The result of several seeds: returns over all their episodes, and each seed's exact figures as one score each."""
    target = spec.experiment_as(LocalExperiment).target
    combined = {
        **combine_seeds(results, None),
        "algorithm": results[0]["algorithm"],
        "optimum": results[0].get("optimum"),
    }
    for name in ("regret", *(name for name in ("success_rate", "path_ratio") if name in results[0])):
        values = [r[name] for r in results]
        combined |= {f"{name}_per_seed": values, **_over_seeds(name, values)}
    for name in ("env_steps_to_target", "seconds_to_target"):
        values = [r.get(name) for r in results]
        combined |= {name: values, **_over_seeds(name, values)}
    if target is not None:
        combined["target"] = {name: value for name, value in asdict(target).items() if name != "source"}
        combined["seeds_that_reached_target"] = sum(r["env_steps_to_target"] is not None for r in results)
        combined["seeds_that_end_at_target"] = sum(target.reached(r) for r in results)
    return combined


def draw(folders: Sequence[RunFolder], path: Path) -> None:
    """The exact figure against environment steps where it is known, and beside it the returns."""
    experiment = folders[0].spec().experiment_as(LocalExperiment)
    in_maze = any("evaluation_success_rate" in row for row in folders[0].metrics())
    name, ylabel, yunit = _SUCCESS if in_maze else _REGRET
    curves = [_exact_curve(folder, name) for folder in folders]
    if not all(curve.env_steps for curve in curves):
        draw_curves(folders, path)
        return
    target = None if experiment.target is None else asdict(experiment.target).get(name)
    plot_learning_curve(curves, path, title=title_of(folders), target=target, ylabel=ylabel, yunit=yunit)
    draw_curves(folders, path.with_name(RETURN_CURVE))


_REGRET = ("regret", "exact regret of the greedy policy", "reward units")
_SUCCESS = ("success_rate", "start cells from which the greedy policy arrives", "share")


def _exact_curve(folder: RunFolder, name: str) -> Curve:
    column = f"evaluation_{name}"
    points = {row["env_steps"]: row[column] for row in folder.metrics("env_steps", column)}
    final = folder.result()
    if final is not None and final.get(name) is not None:
        points[final["env_steps"]] = final[name]
    return Curve(label=folder.spec().policy, env_steps=list(points), returns=list(points.values()))


def _to_target(folder: RunFolder, target: RegretTarget | PathTarget | None) -> dict[str, Any]:
    """Environment steps and seconds at the first exact evaluation that reached the target; ``None`` if none did."""
    row = None
    if target is not None:
        rows = folder.metrics("env_steps", "wall_seconds")
        judged = ((row, {k.removeprefix("evaluation_"): v for k, v in row.items()}) for row in rows)
        row = next((row for row, figures in judged if target.reached(figures)), None)
    return {
        "env_steps_to_target": None if row is None else int(row["env_steps"]),
        "seconds_to_target": None if row is None else row["wall_seconds"],
    }


def _over_seeds(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Interquartile mean and interval over seeds, one score each; ``None`` unless all have one."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {f"{name}_iqm": None, f"{name}_ci95": None}
    summary = summarise(known)
    return {f"{name}_iqm": summary.iqm, f"{name}_ci95": list(summary.ci95)}
