"""A meta-learner, judged again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from pydantic import TypeAdapter

from synrl_ray.errors import UserError
from synrl_ray.experiment import GridworldTasks, MetaEvaluation, OmniglotTasks
from synrl_ray.kinds.acting import evaluation_of_run
from synrl_ray.kinds.meta.result import judge_by_official_runs, judge_learner, size_of
from synrl_ray.meta.building import require_room
from synrl_ray.meta.files import load_maml
from synrl_ray.policies.description import Description, damage_of, described
from synrl_ray.running.kind import EvaluationOptions, option


def evaluate(description: Description, options: EvaluationOptions) -> dict[str, Any]:
    """Adaptation to test tasks, the same ones for every learner; or to the official one-shot runs of Omniglot."""
    others = [name for name in options.given() if name != "official_runs"]
    if options.official_runs and others:
        raise UserError(f"{option(others[0])} and --official-runs do not go together", "leave one out")
    if options.episodes == 1:
        raise UserError("--episodes 1 is too small", "it is at least 2: the interval is over tasks")
    maml, learner, tasks = load_maml(description)
    protocol = _protocol(description)
    if options.official_runs:
        named = str(description.get("data"))
        judged = judge_by_official_runs(maml, tasks, trained_on=named, inner_steps=protocol.inner_steps)
    else:
        trained_on = tasks = _with_its_data(tasks, description)
        if options.shots is not None:
            tasks = _with_shots(tasks, options.shots)
            require_room(maml, tasks)
        num_tasks = options.episodes or protocol.tasks
        judged = judge_learner(maml, learner, tasks, num_tasks=num_tasks, inner_steps=protocol.inner_steps)
        if tasks != trained_on:
            judged["protocol"]["trained_on"] = size_of(trained_on)
    return {
        "experiment": description.get("experiment"),
        "policy": learner.kind,
        "run": str(description.folder),
        **judged,
    }


def _with_its_data(tasks: Any, description: Description) -> Any:
    """Whichever set of Omniglot was at hand then."""
    named = description.get("data")
    if isinstance(tasks, OmniglotTasks) and tasks.data is None and isinstance(named, str):
        return replace(tasks, data=cast(Any, named))
    return tasks


def _with_shots(tasks: Any, shots: int) -> Any:
    if isinstance(tasks, GridworldTasks):
        raise UserError("--shots means nothing for a learner that plays", "leave it out")
    try:
        return replace(tasks, shots=shots)
    except ValueError as error:
        raise UserError(f"--shots {shots} is too large", str(error)) from error


def _protocol(description: Description) -> MetaEvaluation:
    """The protocol of the learner's run."""
    of_run: MetaEvaluation | None = evaluation_of_run(description, "meta")
    if of_run is not None:
        return of_run
    if "evaluation" not in description.content:
        return MetaEvaluation()
    with damage_of(description.file):
        return described(description, "evaluation", TypeAdapter(MetaEvaluation))
