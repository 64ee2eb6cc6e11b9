"""What the commands print of a meta-learner."""

from __future__ import annotations

from typing import Any

from synrl_ray.commands import command
from synrl_ray.kinds.printing import console, print_files
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """How well it adapts, and where the files are."""
    print_scores(outcome.result)
    print_files(outcome, "picture", "learner")
    console.print(f"Judge again   {command('evaluate', outcome.runs[0])}")


def print_scores(result: dict[str, Any]) -> None:
    """How well a learner adapts."""
    protocol = result["protocol"]
    console.print(f"\n{result['experiment']} ({result['policy']} learner)")
    if isinstance(result.get("wall_seconds"), float):
        console.print(
            f"Training      {result['meta_iterations']:,} meta-iterations in {result['wall_seconds']:.0f} s, "
            f"{1000 * result['seconds_per_meta_iteration']:.1f} ms each"
        )
    for name, label, shape in _SCORES:
        if name not in result:
            continue
        low, high = result[f"{name}_ci95"]
        steps = ", ".join(f"{value:{shape}}" for value in result[f"{name}_by_step"])
        console.print(
            f"{label:<13} {result[name]:{shape}}  (95 % interval {low:{shape}} to {high:{shape}}; "
            f"after 0, 1, … inner steps: {steps})"
        )
    if "untrained" in result:
        name, label, shape = next(score for score in _SCORES if score[0] in result["untrained"])
        steps = ", ".join(f"{value:{shape}}" for value in result["untrained"][f"{name}_by_step"])
        console.print(f"Untrained     {steps}  ({label.lower()} of a new network after 0, 1, … inner steps)")
    if isinstance(result.get("env_steps_by_step"), list):
        used = result["env_steps_by_step"][protocol["inner_steps"]]
        console.print(
            f"Adaptation    {used:,.0f} environment steps on a task, {protocol['episodes_per_step']} episodes a step"
        )
    trained_on = f" (trained on {protocol['trained_on']})" if "trained_on" in protocol else ""
    console.print(
        f"Protocol      {protocol['test_tasks']} test tasks of {protocol['data']}, {protocol['tasks']}{trained_on}, "
        f"{protocol['inner_steps']} inner steps; interval: {protocol['interval']}"
    )


_SCORES = (
    ("regret", "Regret", ".1%"),
    ("regret_stochastic", "Not greedy", ".1%"),
    ("accuracy", "Accuracy", ".2%"),
    ("loss", "Loss", ".4f"),
)
