"""From a trained policy to ``result.json`` and the learning curve; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synrl_ray.evaluation.curves import LEARNING_CURVE
from synrl_ray.evaluation.episodes import evaluate_policy
from synrl_ray.evaluation.saving import save_figures
from synrl_ray.experiment import Experiment
from synrl_ray.kinds.acting import Judging, factory_of
from synrl_ray.kinds.episodes import combined_episodes, judged, return_curve, steps_to_return, time_shares
from synrl_ray.kinds.result import bounds_of, provenance_of, target_reached, targets_reached, training_of
from synrl_ray.policies.energy import decision_energy
from synrl_ray.policies.layers import rows_at_once
from synrl_ray.policies.policy import Policy
from synrl_ray.policies.recording import ObservationRecorder
from synrl_ray.policies.sampled import SampledPolicy, ZeroedPolicy
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENERGY_DECISIONS = 1000
"""Decisions of the evaluation whose operations are counted."""
_ENVIRONMENTS_AT_ONCE = 32
"""Fewer where much is computed for each of them."""


def judge(policy: Policy, judging: Judging, experiment: str | None, *, draws: bool) -> Result:
    """Play greedy episodes, and with ``draws`` as many of drawn actions in environments of the same seeds.

    The actions are drawn from the seed of the first episode, for as many environments at a time as the protocol says.
    A policy with a state plays as many more without it, see :class:`~synrl_ray.policies.sampled.ZeroedPolicy`.
    """
    numbers = policy.network.numbers_per_observation
    make, at_once = factory_of(judging.environment), rows_at_once(numbers, _ENVIRONMENTS_AT_ONCE)
    episodes: dict[str, Any] = {"episodes": judging.episodes, "seed": judging.first_seed, "max_parallel": at_once}
    recorder = ObservationRecorder(policy, rows_at_once(numbers, _ENERGY_DECISIONS))
    greedy, sampled, zeroed = evaluate_policy(recorder, make, **episodes), None, None
    if draws:
        sampled = evaluate_policy(SampledPolicy(policy, judging.first_seed), make, **episodes, deterministic=False)
        greedy.protocol["sampled"] = {"seed": judging.first_seed, "environments_at_once": at_once}
    if policy.initial_state(1).size:
        zeroed = evaluate_policy(ZeroedPolicy(policy), make, **episodes)
    energy = decision_energy(policy, recorder.observations, recorder.states) if recorder.count else None
    return judged(experiment, policy.config.kind, judging.environment, greedy, sampled, zeroed, energy=energy)


def finish(folder: RunFolder, spec: RunSpec, policy: Policy, position: Position) -> Result:
    """Evaluate by the experiment's protocol, write ``result.json`` and ``learning_curve.png``."""
    experiment = spec.experiment_as(Experiment)
    protocol, bounds = experiment.evaluation, bounds_of(experiment)
    judging = Judging(experiment.environment, protocol.episodes, protocol.first_seed)
    found = judge(policy, judging, experiment.id, draws=experiment.algorithm.draws_actions)
    steps = steps_to_return(folder, experiment.target)
    result = replace(
        found,
        training=(
            training_of(
                spec,
                position,
                "env_steps",
                episodes=position.episodes,
                steps_to_target=steps,
                time_shares=time_shares(folder.metrics()),
            ),
        ),
        target=target_reached(bounds, steps is not None, _is_reached(found, experiment)),
        provenance=provenance_of(spec),
    )
    folder.write_result(result)  # before the drawing, which shows it
    save_figures(figures([folder]), folder.path)
    return result


def combine(results: Sequence[Result], spec: RunSpec) -> Result:
    """Statistics over all seeds' episodes; the energy is the first seed's."""
    experiment = spec.experiment_as(Experiment)
    reached = [_is_reached(result, experiment) for result in results]
    target = targets_reached(results, bounds_of(experiment), reached)
    return combined_episodes(results, spec, target=target, energy=results[0].energy)


def figures(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    """Return against environment steps."""
    target = folders[0].spec().experiment_as(Experiment).target
    return {LEARNING_CURVE: return_curve(folders, target.mean_return if target else None)}


def _is_reached(result: Result, experiment: Experiment) -> bool:
    target = experiment.target
    return target is not None and result.figure("return_mean") >= target.mean_return
