"""What the commands print of a classifier."""

from __future__ import annotations

from typing import Any

from synrl_ray.commands import command
from synrl_ray.kinds.printing import console, print_files
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Accuracy of each seed and of all, and where the files are."""
    result = outcome.result
    seconds = result["wall_seconds"] if isinstance(result["wall_seconds"], list) else [result["wall_seconds"]]
    console.print(f"\n{result['experiment']} ({result['policy']}), {', '.join(f'{s:.0f} s' for s in seconds)}")
    for seed, accuracy in zip(result.get("seeds", ()), result.get("accuracy_per_seed", ()), strict=True):
        console.print(f"Seed {seed}        {accuracy:.2%}")
    _print_accuracy(result)
    print_files(outcome, "pictures", "policy")
    console.print(f"Judge again   {command('evaluate', outcome.runs[0])}")


def print_evaluation(result: dict[str, Any]) -> None:
    """Accuracy."""
    console.print(f"{result['run']}: {result['policy']} classifier")
    _print_accuracy(result)


def _print_accuracy(result: dict[str, Any]) -> None:
    (low, high), protocol = result["accuracy_ci95"], result["protocol"]
    console.print(f"Accuracy      {result['accuracy']:.2%}  (95 % interval {low:.2%} to {high:.2%})")
    digits = ", ".join(map(str, protocol["classes"]))
    console.print(f"Protocol      {protocol['data']}, {protocol['test_images']:,} images of the digits {digits}")
