"""What results of policies that are judged by episodes share, of one seed and of several, and their learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synrl_ray.evaluation.curves import Curve, EvaluationCurve, plot_learning_curve
from synrl_ray.evaluation.episodes import EvaluationResult
from synrl_ray.evaluation.statistics import Summary, summarise
from synrl_ray.experiment import Environment
from synrl_ray.kinds.result import title_of
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec


def protocol_of(outcome: EvaluationResult, environment: Environment) -> dict[str, Any]:
    """How an evaluation was done, with the preparation of frames and actions."""
    prepared = environment.preprocessing
    return {**outcome.protocol, **({"preprocessing": asdict(prepared)} if prepared else {})}


def training_of(spec: RunSpec, position: Position) -> dict[str, Any]:
    """Which run it was, and how long it took."""
    return {
        "experiment": spec.experiment.id,
        "policy": spec.policy,
        "seed": spec.seed,
        "env_steps": position.steps,
        "wall_seconds": round(position.wall_seconds, 2),
        "env_steps_per_second": round(position.steps / max(position.wall_seconds, 1e-9), 1),
        "episodes": position.episodes,
    }


def judgement_of(outcome: EvaluationResult, environment: Environment) -> dict[str, Any]:
    """What the final evaluation's episodes gave, and how it was done."""
    return {
        **describe(outcome.summary()),
        "returns": outcome.returns.tolist(),
        "protocol": protocol_of(outcome, environment),
    }


def combine_seeds(results: Sequence[dict[str, Any]], target: float | None) -> dict[str, Any]:
    """The result of several seeds: statistics over all their episodes, stratified by seed."""
    first = results[0]
    reached = [r for r in results if r["env_steps_to_target"] is not None]
    combined = {
        "experiment": first["experiment"],
        "policy": first["policy"],
        "seeds": [r["seed"] for r in results],
        "env_steps": [r["env_steps"] for r in results],
        "wall_seconds": [r["wall_seconds"] for r in results],
        **describe(summarise([r["returns"] for r in results])),
        "return_mean_per_seed": [r["return_mean"] for r in results],
        "env_steps_to_target": [r["env_steps_to_target"] for r in results],
        "protocol": _joint_protocol([r["protocol"] for r in results]),
        "energy": first.get("energy"),
        "versions": first["versions"],
    }
    if target is not None:
        combined["target"] = target
        combined["seeds_that_reached_target"] = len(reached)
        combined["seeds_that_end_at_target"] = sum(r["return_mean"] >= target for r in results)
    return combined


def _joint_protocol(protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first seed's, with the cut episodes of all."""
    if "episodes_cut" not in protocols[0]:
        return protocols[0]
    return {**protocols[0], "episodes_cut": sum(protocol["episodes_cut"] for protocol in protocols)}


def describe(summary: Summary) -> dict[str, Any]:
    """A summary under the names of ``result.json``."""
    return {
        "return_mean": summary.mean,
        "return_std": summary.std,
        "return_iqm": summary.iqm,
        "return_ci95": list(summary.ci95),
        "return_min": summary.minimum,
        "return_max": summary.maximum,
        "evaluation_episodes": summary.num_episodes,
    }


def time_shares(rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Which shares of the run's seconds the environments, the policy (in sampling) and the learner took.

    Seconds of several env runners are added up: they are seconds of all processes, more than have passed on the clock.
    ``None`` for rows that do not tell.
    """
    names = ("environment", "policy", "learner")
    seconds = [sum(row.get(f"seconds_{name}") or 0.0 for row in rows) for name in names]
    total = sum(seconds)
    return {name: round(part / total, 4) for name, part in zip(names, seconds, strict=True)} if total else None


def draw_curves(folders: Sequence[RunFolder], path: Path, target: float | None = None) -> None:
    """Draw the returns of one or several seeds of an experiment against environment steps."""
    plot_learning_curve([_curve(folder) for folder in folders], path, title=title_of(folders), target=target)


def _curve(folder: RunFolder) -> Curve:
    trained = folder.metrics("env_steps", "return_mean")
    columns = ("env_steps", *(f"evaluation_return_{name}" for name in ("mean", "low", "high")))
    judged = [tuple(row[column] for column in columns) for row in folder.metrics(*columns)]
    final = folder.result()
    if final is not None:
        judged = [point for point in judged if point[0] != final["env_steps"]]
        judged.append((final["env_steps"], final["return_mean"], *final["return_ci95"]))
    return Curve(
        label=folder.spec().policy,
        env_steps=[row["env_steps"] for row in trained],
        returns=[row["return_mean"] for row in trained],
        evaluations=EvaluationCurve(*map(list, zip(*judged, strict=True))) if judged else None,
    )
