"""From an evolved policy to ``result.json`` and its picture; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from synrl_ray.evaluation.curves import LEARNING_CURVE
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.kinds.acting import Judging
from synrl_ray.kinds.episodes import combined_episodes, return_curve, steps_to_return
from synrl_ray.kinds.evolution.judging import held_out_environment, judge
from synrl_ray.kinds.result import (
    bounds_of,
    column,
    over_seeds,
    provenance_of,
    target_reached,
    targets_reached,
    training_of,
)
from synrl_ray.policies.hebbian.policy import HebbianPolicy
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def finish(folder: RunFolder, spec: RunSpec, policy: HebbianPolicy, position: Position) -> Result:
    """Judge by the experiment's protocol, write ``result.json`` and the picture."""
    experiment = spec.experiment_as(EvolutionExperiment)
    protocol, target = experiment.evaluation, experiment.target
    judging = Judging(experiment.environment, protocol.episodes, protocol.first_seed)
    elsewhere = held_out_environment(experiment.environment, experiment.held_out)
    found, steps = judge(policy, judging, experiment.id, elsewhere), steps_to_return(folder, experiment.target)
    more = {"episodes": position.episodes, "steps_to_target": steps}
    at_end = target is not None and target.reached(found.figures)
    result = replace(
        found,
        training=(training_of(spec, position, "env_steps", **more),),
        target=target_reached(bounds_of(experiment), steps is not None, at_end),
        provenance=provenance_of(spec),
    )
    folder.write_result(result)  # before the drawing, which shows it
    save_figures(figures([folder]), folder.path)
    return result


def combine(results: Sequence[Result], spec: RunSpec) -> Result:
    """Statistics over all seeds' episodes, and those of the controls over seeds."""
    experiment = spec.experiment_as(EvolutionExperiment)
    names = [name for name in results[0].figures if name.endswith("_return_mean") and not name.startswith("zeroed")]
    found = [over_seeds(results, name, f"{name.removesuffix('mean')}iqm") for name in names]
    ends = [experiment.target is not None and experiment.target.reached(result.figures) for result in results]
    return combined_episodes(
        results,
        spec,
        figures={name: value for figures, _ in found for name, value in figures.items()},
        intervals=tuple(interval for _, intervals in found for interval in intervals),
        per_seed={name: column(results, name) for name in names},
        target=targets_reached(results, bounds_of(experiment), ends),
    )


def figures(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    """The mean return of a generation, and of the policy that it is drawn around, against environment steps."""
    target = folders[0].spec().experiment_as(EvolutionExperiment).target
    return {LEARNING_CURVE: return_curve(folders, target.mean_return if target else None)}
