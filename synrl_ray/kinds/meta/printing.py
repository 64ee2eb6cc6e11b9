"""What the commands print of a meta-learner."""

from __future__ import annotations

from synrl_ray.commands import command
from synrl_ray.kinds.printing import console, print_files
from synrl_ray.results import Adaptation, Result
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """How well it adapts, and where the files are."""
    print_scores(outcome.result)
    print_files(outcome, "picture", "learner", f"Judge again   {command('evaluate', outcome.runs[0])}")


def print_scores(result: Result) -> None:
    """How well a learner adapts."""
    protocol, adaptation = result.protocol, result.adaptation or Adaptation(by_step={})
    console.print(f"\n{result.experiment} ({result.policy} learner)")
    if len(result.training) == 1:
        (trained,) = result.training
        console.print(
            f"Training      {trained.steps:,} meta-iterations in {trained.wall_seconds:.0f} s, "
            f"{1000 / max(trained.steps_per_second, 1e-9):.1f} ms each"
        )
    for name, label, shape in _SCORES:
        interval = result.interval(name)
        if interval is None:
            continue
        steps = ", ".join(f"{value:{shape}}" for value in adaptation.by_step[name])
        console.print(
            f"{label:<13} {result.figure(name):{shape}}  (95 % interval {interval.low:{shape}} to "
            f"{interval.high:{shape}}; after 0, 1, … inner steps: {steps})"
        )
    for name, label, shape in _SCORES:
        if name in adaptation.untrained:
            steps = ", ".join(f"{value:{shape}}" for value in adaptation.untrained[name])
            console.print(f"Untrained     {steps}  ({label.lower()} of a new network after 0, 1, … inner steps)")
            break
    if adaptation.env_steps is not None:
        used = adaptation.env_steps[protocol["inner_steps"]]
        console.print(
            f"Adaptation    {used:,.0f} environment steps on a task, {protocol['episodes_per_step']} episodes a step"
        )
    trained_on = f" (trained on {protocol['trained_on']})" if "trained_on" in protocol else ""
    interval = result.interval(result.score)
    by_support = ", queries normalised by their support set" if "query_statistics" in protocol else ""
    known = protocol.get("distinct_tasks", protocol["test_tasks"])
    distinct = "" if known == protocol["test_tasks"] else f" ({known} distinct)"
    over = "" if interval is None else f"; interval: {interval.method} over {interval.over}"
    console.print(
        f"Protocol      {protocol['test_tasks']} test tasks{distinct} of {protocol['data']}, {protocol['tasks']}"
        f"{trained_on}, {protocol['inner_steps']} inner steps{by_support}{over}"
    )


_SCORES = (
    ("regret", "Regret", ".1%"),
    ("regret_stochastic", "Not greedy", ".1%"),
    ("accuracy", "Accuracy", ".2%"),
    ("mean_return", "Return", ".2f"),
    ("mean_return_stochastic", "Not greedy", ".2f"),
    ("loss", "Loss", ".4f"),
)
