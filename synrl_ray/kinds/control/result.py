"""From a trained policy to ``result.json`` and the learning curve; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synrl_ray.experiment import Experiment
from synrl_ray.kinds.acting import evaluate_in
from synrl_ray.kinds.episodes import combine_seeds, draw_curves, judgement_of, time_shares, training_of
from synrl_ray.kinds.result import versions
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.recording import ObservationRecorder
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

ENERGY_DECISIONS = 1000
"""Decisions of the evaluation whose operations are counted."""


def finish(folder: RunFolder, spec: RunSpec, policy: Policy, position: Position) -> dict[str, Any]:
    """Evaluate by the experiment's protocol, write ``result.json`` and ``learning_curve.png``."""
    experiment = spec.experiment_as(Experiment)
    protocol = experiment.evaluation
    recorder = ObservationRecorder(policy, ENERGY_DECISIONS)
    outcome = evaluate_in(recorder, experiment.environment, episodes=protocol.episodes, seed=protocol.first_seed)
    result = {
        **training_of(spec, position),
        "time_shares": time_shares(folder.metrics()),
        "env_steps_to_target": steps_to_target(folder, experiment),
        **judgement_of(outcome, experiment.environment),
        "energy": decision_energy(policy, recorder.observations, recorder.states) if recorder.count else None,
        "num_workers": spec.num_workers,
        "num_learners": spec.num_learners,
        "versions": versions(),
    }
    folder.write_result(result)  # before the drawing, which shows it
    draw([folder], folder.path / "learning_curve.png")
    return result


def steps_to_target(folder: RunFolder, experiment: Experiment) -> int | None:
    """Environment steps at the first greedy evaluation that reached the target; ``None`` if none did."""
    target = experiment.target
    if target is None:
        return None
    for row in folder.metrics("env_steps", "evaluation_return_mean"):
        if row["evaluation_return_mean"] >= target.mean_return:
            return int(row["env_steps"])
    return None


def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
    """Statistics over all seeds' episodes."""
    target = spec.experiment_as(Experiment).target
    return combine_seeds(results, target.mean_return if target else None)


def draw(folders: Sequence[RunFolder], path: Path) -> None:
    """Return against environment steps."""
    target = folders[0].spec().experiment_as(Experiment).target
    draw_curves(folders, path, target.mean_return if target else None)
