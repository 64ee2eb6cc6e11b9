"""A meta-learner, judged again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from synrl_ray.errors import UserError
from synrl_ray.experiment import MetaEvaluation
from synrl_ray.kinds.acting import experiment_of_run
from synrl_ray.kinds.inside import parameters_of, weights_of
from synrl_ray.kinds.meta.admitting import admit_tasks
from synrl_ray.kinds.meta.judging import judge_of
from synrl_ray.kinds.meta.result import judge_by_official_runs
from synrl_ray.meta.families import family_of
from synrl_ray.meta.files import load_maml
from synrl_ray.meta.maml import MamlModel, batch_norms
from synrl_ray.policies.description import Description, damage_of, described
from synrl_ray.results import Result
from synrl_ray.running.kind import EvaluationOptions, Inside, option


def evaluate(description: Description, options: EvaluationOptions) -> Result:
    """Adaptation to test tasks, the same ones for every learner; or to the official one-shot runs of Omniglot."""
    others = [name for name in options.given() if name not in ("official_runs", "support_statistics")]
    if options.official_runs and others:
        raise UserError(f"{option(others[0])} and --official-runs do not go together", "leave one out")
    if options.episodes == 1:
        raise UserError("--episodes 1 is too small", "it is at least 2: the interval is over tasks")
    admit_tasks(description, trust=options.trust)
    maml, learner, tasks = load_maml(description)
    protocol, experiment = _protocol(description), description.get("experiment")
    if options.support_statistics:
        if not isinstance(maml, MamlModel):
            raise UserError("--support-statistics means nothing for a learner that plays", "leave it out")
        if not batch_norms(maml.model):
            raise UserError("--support-statistics means nothing for a learner without batch norm", "leave it out")
        trained, config = maml, replace(maml.config, engine="vmap", query_statistics="support")
        maml = family_of(tasks).meta_learner(learner, config)
        maml.load_state_dict(trained.state_dict())
    if options.official_runs:
        named = str(description.get("data"))
        found = judge_by_official_runs(
            maml, learner, tasks, experiment, trained_on=named, inner_steps=protocol.inner_steps
        )
    else:
        named = description.get("data")
        trained_on = tasks = family_of(tasks).with_data(named if isinstance(named, str) else None)
        if options.shots is not None:
            tasks = _with_shots(tasks, options.shots)
            family_of(tasks).require_room(maml)
        judge = judge_of(maml, learner, tasks)
        found = judge.on_test_tasks(experiment, options.episodes or protocol.tasks, protocol.inner_steps)
        if tasks != trained_on:
            found = replace(found, protocol={**found.protocol, "trained_on": family_of(trained_on).size})
    return replace(found, run=str(description.folder))


def inside(description: Description, trust: bool, plays: bool) -> Inside:
    """The weights from which tasks are learned."""
    admit_tasks(description, trust=trust)
    maml, _, _ = load_maml(description)
    return Inside(parameters=parameters_of(maml), weights=weights_of(maml))


def _with_shots(tasks: Any, shots: int) -> Any:
    if not family_of(tasks).has_shots:
        raise UserError("--shots means nothing for a learner that plays", "leave it out")
    try:
        return replace(tasks, shots=shots)
    except ValueError as error:
        raise UserError(f"--shots {shots} is too large", str(error)) from error


def _protocol(description: Description) -> MetaEvaluation:
    """The protocol of the learner's run."""
    experiment = experiment_of_run(description, "meta")
    if experiment is not None:
        return cast(MetaEvaluation, experiment.evaluation)
    if "evaluation" not in description.content:
        return MetaEvaluation()
    with damage_of(description.file):
        return described(description, "evaluation", MetaEvaluation)
