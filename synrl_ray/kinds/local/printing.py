"""What the commands print of an agent of local learning."""

from __future__ import annotations

from typing import Any

from synrl_ray.experiment import LocalExperiment
from synrl_ray.kinds.printing import (
    console,
    print_episode_files,
    print_film,
    print_judged,
    print_returns,
    print_seeds,
    print_training,
)
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Exact score and return, and where the files are."""
    result = outcome.result
    if len(outcome.runs) > 1:
        targets = [f"{name.replace('_', ' ')} {value:g}" for name, value in result.get("target", {}).items()]
        score = ("regret_per_seed", "exact regret", ".4f")
        if "success_rate_per_seed" in result:  # in a maze
            score = ("success_rate_per_seed", "success rate", ".1%")
        print_seeds(result, *score, " and ".join(targets) or None)
    else:
        print_training(result)
    print_score(result)
    print_episode_files(outcome, outcome.spec.experiment_as(LocalExperiment).environment)


def print_evaluation(result: dict[str, Any]) -> None:
    """Exact score and return, and where the video is."""
    print_judged(result)
    print_score(result)
    print_film(result)


def print_score(result: dict[str, Any]) -> None:
    """The exact score, where there is one, and the return."""
    if result.get("regret") is not None:
        console.print(
            f"Regret        {result['regret']:.4f}  (exact: greedy policy {result['value']:.4f}, "
            f"best policy {result['optimum']:.4f}, over {result['num_first_states']:.0f} first states)"
        )
    elif result.get("regret_ci95") is not None:
        low, high = result["regret_ci95"]
        console.print(f"Regret IQM    {result['regret_iqm']:.4f}  (95 % interval over seeds {low:.4f} to {high:.4f})")
    if result.get("success_rate") is not None:
        moves = result["path_ratio"]
        ratio = "" if moves is None else f"  (exact; moves over the shortest path {moves:.3f})"
        console.print(f"Success       {result['success_rate']:.1%} of start cells{ratio}")
    elif result.get("success_rate_ci95") is not None:
        low, high = result["success_rate_ci95"]
        console.print(
            f"Success IQM   {result['success_rate_iqm']:.1%}  (95 % interval over seeds {low:.1%} to {high:.1%})"
        )
    steps, seconds = result.get("env_steps_to_target"), result.get("seconds_to_target")
    if isinstance(steps, int):
        console.print(f"Target        reached after {steps:,} environment steps, {seconds:.2f} s")
    print_returns(result)
