"""From a trained local agent to ``result.json`` and its pictures; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synrl_ray.evaluation.curves import LEARNING_CURVE, Curve, learning_curve
from synrl_ray.evaluation.plasticity_figure import draw_plasticity
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.experiment import LocalExperiment, PathTarget, RegretTarget, ReturnTarget
from synrl_ray.kinds.acting import Judging, evaluate_in
from synrl_ray.kinds.episodes import combined_episodes, judged, return_curve, time_shares
from synrl_ray.kinds.local.exact import ExactJudge
from synrl_ray.kinds.result import (
    bounds_of,
    column,
    of_scores,
    over_seeds,
    provenance_of,
    target_reached,
    targets_reached,
    title_of,
    training_of,
)
from synrl_ray.kinds.rllib_trainer import finite
from synrl_ray.policies.local.agent import LocalAgent
from synrl_ray.policies.local.policy import LocalPolicy
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXACT = ("success_rate", "regret")
"""Exact scores; the first of them that is known is the one that counts."""
RETURN_CURVE = "return_curve.png"
PLASTICITY = "plasticity.png"


def judge(policy: LocalPolicy, judging: Judging, experiment: str | None, exact: ExactJudge | None) -> Result:
    """Score a policy exactly, where its environment has a table, and play greedy episodes.

    Local agents explore in training only: there are no drawn actions.
    """
    outcome = evaluate_in(policy, judging.environment, episodes=judging.episodes, seed=judging.first_seed)
    figures = exact_figures(exact, policy)
    score = next(name for name in (*_EXACT, "return_iqm") if name == "return_iqm" or figures.get(name) is not None)
    return judged(experiment, policy.kind, judging.environment, outcome, score=score, figures=figures)


def finish(
    folder: RunFolder, spec: RunSpec, policy: LocalPolicy, position: Position, exact: ExactJudge | None
) -> Result:
    """Evaluate by the experiment's protocol and exactly, write ``result.json`` and the pictures."""
    experiment = spec.experiment_as(LocalExperiment)
    protocol, target, shares = experiment.evaluation, experiment.target, time_shares(folder.metrics())
    judging = Judging(experiment.environment, protocol.episodes, protocol.first_seed)
    found, (steps, seconds) = judge(policy, judging, experiment.id, exact), _to_target(folder, target)
    when = {"steps_to_target": steps, "seconds_to_target": seconds, "time_shares": shares}
    result = replace(
        found,
        training=(training_of(spec, position, "env_steps", episodes=position.episodes, **when),),
        target=target_reached(
            bounds_of(experiment), steps is not None, target is not None and target.reached(found.figures)
        ),
        provenance=provenance_of(spec),
    )
    folder.write_result(result)  # before the drawing, which shows it
    save_figures(figures([folder]), folder.path)
    distributions = distributions_of(policy.agent, exact)
    draw_plasticity(folder.metrics(), distributions, folder.path / PLASTICITY, title=title_of([folder]))
    return result


def distributions_of(agent: LocalAgent, judge: ExactJudge | None) -> dict[str, np.ndarray]:
    """Every plastic weight; and greedy spikes of the neurons over all states, where these are known."""
    spikes = {} if judge is None else agent.spike_counts(judge.observations)
    return {
        **{name.replace("_", " "): getattr(agent, name).numpy() for name in agent.plastic_names},
        **{f"spikes of {name} over all states": counts for name, counts in spikes.items()},
    }


def exact_figures(exact: ExactJudge | None, policy: LocalPolicy) -> dict[str, float | None]:
    """Regret, value and optimum; ``None`` where there is no table, or the value is infinite."""
    if exact is None:
        return {"regret": None}
    return {name: finite(value) for name, value in exact.describe(policy.agent).items()}


def combine(results: Sequence[Result], spec: RunSpec) -> Result:
    """The result of several seeds: returns over all their episodes, and each seed's exact figures as one score each."""
    experiment = spec.experiment_as(LocalExperiment)
    target, first = experiment.target, results[0]
    names = [name for name in (*_EXACT, "path_ratio") if name in first.figures]
    found = [over_seeds(results, name, f"{name}_iqm") for name in names]
    for name in ("steps_to_target", "seconds_to_target"):
        scores = [getattr(training, name) for result in results for training in result.training]
        found.append(of_scores(scores, f"{name}_iqm"))
    figures: dict[str, float | None] = {"optimum": first.figures.get("optimum")}
    for part, _ in found:
        figures |= part
    ends = [target is not None and target.reached(result.figures) for result in results]
    known = (f"{name}_iqm" for name in (*_EXACT, "return"))
    return combined_episodes(
        results,
        spec,
        score=next(name for name in known if name == "return_iqm" or figures.get(name) is not None),
        figures=figures,
        intervals=tuple(interval for _, intervals in found for interval in intervals),
        per_seed={name: column(results, name) for name in names},
        target=targets_reached(results, bounds_of(experiment), ends),
    )


def figures(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    """The exact figure against environment steps where it is known, and beside it the returns; else these alone."""
    experiment = folders[0].spec().experiment_as(LocalExperiment)
    in_maze = any("evaluation_success_rate" in row for row in folders[0].metrics())
    name, ylabel, yunit = _SUCCESS if in_maze else _REGRET
    curves = [_exact_curve(folder, name) for folder in folders]
    targets = bounds_of(experiment) or {}
    if not all(curve.env_steps for curve in curves):
        return {LEARNING_CURVE: return_curve(folders, targets.get("mean_return"))}
    exact = learning_curve(curves, title=title_of(folders), target=targets.get(name), ylabel=ylabel, yunit=yunit)
    return {LEARNING_CURVE: exact, RETURN_CURVE: return_curve(folders)}


_REGRET = ("regret", "exact regret of the greedy policy", "reward units")
_SUCCESS = ("success_rate", "start cells from which the greedy policy arrives", "share")


def _exact_curve(folder: RunFolder, name: str) -> Curve:
    column = f"evaluation_{name}"
    points = {row["env_steps"]: row[column] for row in folder.metrics("env_steps", column)}
    final = folder.result()
    if final is not None and final.figures.get(name) is not None:
        points[final.training[0].steps] = final.figures[name]
    return Curve(label=folder.spec().policy, env_steps=list(points), returns=list(points.values()))


def _to_target(
    folder: RunFolder, target: RegretTarget | PathTarget | ReturnTarget | None
) -> tuple[int | None, float | None]:
    """Environment steps and seconds at the first evaluation that reached the target; ``None`` if none did."""
    row = None
    if target is not None:
        rows = folder.metrics("env_steps", "wall_seconds")
        judged = ((row, {k.removeprefix("evaluation_"): v for k, v in row.items()}) for row in rows)
        row = next((row for row, figures in judged if target.reached(figures)), None)
    return (None, None) if row is None else (int(row["env_steps"]), row["wall_seconds"])
