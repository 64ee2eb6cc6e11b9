"""What the commands print of a classifier."""

from __future__ import annotations

from synrl_ray.commands import command
from synrl_ray.kinds.printing import console, print_files
from synrl_ray.results import Result
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Accuracy of each seed and of all, and where the files are."""
    result = outcome.result
    seconds = ", ".join(f"{trained.wall_seconds:.0f} s" for trained in result.training)
    console.print(f"\n{result.experiment} ({result.policy}), {seconds}")
    if result.per_seed:
        for seed, accuracy in zip(result.seeds, result.per_seed["accuracy"], strict=True):
            console.print(f"Seed {seed}        {accuracy:.2%}")
    _print_accuracy(result)
    print_files(outcome, "pictures", "policy", f"Judge again   {command('evaluate', outcome.runs[0])}")


def print_evaluation(result: Result) -> None:
    """Accuracy."""
    console.print(f"{result.run}: {result.policy} classifier")
    _print_accuracy(result)


def _print_accuracy(result: Result) -> None:
    interval, protocol = result.interval("accuracy"), result.protocol
    bounds = "" if interval is None else f"  (95 % interval {interval.low:.2%} to {interval.high:.2%})"
    console.print(f"Accuracy      {result.figure('accuracy'):.2%}{bounds}")
    digits = ", ".join(map(str, protocol["classes"]))
    console.print(f"Protocol      {protocol['data']}, {protocol['test_images']:,} images of the digits {digits}")
