"""From a trained local agent to ``result.json`` and its pictures; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from synrl_ray.evaluation.curves import Curve, plot_learning_curve
from synrl_ray.evaluation.rollout import EvaluationResult, evaluate_policy
from synrl_ray.evaluation.statistics import summarise
from synrl_ray.experiment import Environment, LocalExperiment, RegretTarget
from synrl_ray.policies.local_policy import LocalPolicy
from synrl_ray.running.exact import ExactJudge, exact_judge
from synrl_ray.running.result import (
    combine_seeds,
    draw_curves,
    factory_of,
    first_row,
    judgement_of,
    time_shares,
    title_of,
    training_of,
    versions,
)
from synrl_ray.running.rllib_task import finite
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec

RETURN_CURVE = "return_curve.png"
_LONGEST_EPISODE = 10_000
"""Environment steps of a greedy episode where the environment itself sets no limit."""


def roll_out(policy: LocalPolicy, environment: Environment, *, episodes: int, seed: int) -> EvaluationResult:
    """Greedy episodes; where the environment has no time limit, one is set, since a bad policy may go on for ever."""
    probe = factory_of(environment)()
    limited = probe.spec is None or probe.spec.max_episode_steps is not None
    probe.close()
    limit = {} if limited else {"max_episode_steps": _LONGEST_EPISODE}
    return evaluate_policy(policy, factory_of(environment, **limit), episodes=episodes, seed=seed)


def finish_local(
    folder: RunFolder, spec: RunSpec, policy: LocalPolicy, position: Position, judge: ExactJudge | None
) -> dict[str, Any]:
    """Evaluate by the experiment's protocol and exactly, write ``result.json`` and the pictures."""
    experiment = cast(LocalExperiment, spec.experiment)
    protocol = experiment.evaluation
    outcome = roll_out(policy, experiment.environment, episodes=protocol.episodes, seed=protocol.first_seed)
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
    draw_local([folder], folder.path / "learning_curve.png")
    return result


def evaluate_local(policy: LocalPolicy, environment: Environment, *, episodes: int, seed: int) -> dict[str, Any]:
    """Judge a policy again: its exact score, and greedy episodes."""
    outcome = roll_out(policy, environment, episodes=episodes, seed=seed)
    return {
        "algorithm": policy.settings.name,
        **exact_fields(exact_judge(environment), policy),
        **judgement_of(outcome, environment),
        "env_steps": outcome.env_steps,
        "env_steps_per_second": round(outcome.env_steps / max(outcome.seconds, 1e-9), 1),
    }


def exact_fields(judge: ExactJudge | None, policy: LocalPolicy) -> dict[str, Any]:
    """Regret, value and optimum for ``result.json``; ``None`` where there is no table, or the value is infinite."""
    if judge is None:
        return {"regret": None}
    return {name: finite(value) for name, value in judge.describe(policy.agent).items()}


def combine_local(results: Sequence[dict[str, Any]], target: RegretTarget | None) -> dict[str, Any]:
    """The result of several seeds: returns over all their episodes, and each seed's regret as one score."""
    combined = {
        **combine_seeds(results, None),
        "algorithm": results[0]["algorithm"],
        "optimum": results[0].get("optimum"),
        "regret_per_seed": [r["regret"] for r in results],
        **_over_seeds("regret", [r["regret"] for r in results]),
    }
    for name in ("env_steps_to_target", "seconds_to_target"):
        values = [r.get(name) for r in results]
        combined |= {name: values, **_over_seeds(name, values)}
    if target is not None:
        regrets = [r["regret"] for r in results]
        combined["target"] = target.regret
        combined["seeds_that_reached_target"] = sum(r["env_steps_to_target"] is not None for r in results)
        combined["seeds_that_end_at_target"] = sum(r is not None and r <= target.regret for r in regrets)
    return combined


def draw_local(folders: Sequence[RunFolder], path: Path) -> None:
    """Regret against environment steps where it is known, and beside it the returns."""
    curves = [_regret_curve(folder) for folder in folders]
    if not all(curve.env_steps for curve in curves):
        draw_curves(folders, path)
        return
    target = cast(LocalExperiment, folders[0].spec().experiment).target
    plot_learning_curve(
        curves,
        path,
        title=title_of(folders),
        target=None if target is None else target.regret,
        ylabel="exact regret of the greedy policy",
    )
    draw_curves(folders, path.with_name(RETURN_CURVE))


def _regret_curve(folder: RunFolder) -> Curve:
    rows = [row for row in folder.metrics() if row.get("evaluation_regret") is not None]
    final = folder.result()
    points = {row["env_steps"]: row["evaluation_regret"] for row in rows}
    if final is not None and final["regret"] is not None:
        points[final["env_steps"]] = final["regret"]
    return Curve(label=folder.spec().policy, env_steps=list(points), returns=list(points.values()))


def _to_target(folder: RunFolder, target: RegretTarget | None) -> dict[str, Any]:
    """Environment steps and seconds at the first exact evaluation that reached the target; ``None`` if none did."""
    row = None
    if target is not None:
        limit = target.regret
        row = first_row(folder, "evaluation_regret", lambda regret: regret <= limit)
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
