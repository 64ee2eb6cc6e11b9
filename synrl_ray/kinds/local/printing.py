"""What the commands print of an agent of local learning."""

from __future__ import annotations

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
from synrl_ray.results import Result
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Exact score and return, and where the files are."""
    result = outcome.result
    if len(outcome.runs) > 1:
        bounds = (result.target and result.target.bounds) or {}
        targets = [f"{name.replace('_', ' ')} {value:g}" for name, value in bounds.items()]
        score = ("return_mean", "mean return", ".3f")
        if "success_rate" in result.per_seed:  # in a maze
            score = ("success_rate", "success rate", ".1%")
        elif result.figures.get("regret_iqm") is not None:
            score = ("regret", "exact regret", ".4f")
        print_seeds(result, *score, " and ".join(targets) or None)
    else:
        print_training(result)
    print_score(result)
    print_episode_files(outcome, outcome.spec.experiment_as(LocalExperiment).environment)


def print_evaluation(result: Result) -> None:
    """Exact score and return, and where the video is."""
    print_judged(result)
    print_score(result)
    print_film(result)


def print_score(result: Result) -> None:
    """The exact score, where there is one, and the return."""
    figures = result.figures
    if figures.get("regret") is not None:
        console.print(
            f"Regret        {figures['regret']:.4f}  (exact: greedy policy {figures['value']:.4f}, "
            f"best policy {figures['optimum']:.4f}, over {figures['num_first_states']:.0f} first states)"
        )
    elif (over := result.interval("regret_iqm")) is not None:
        bounds = f"95 % interval over seeds {over.low:.4f} to {over.high:.4f}"
        console.print(f"Regret IQM    {figures['regret_iqm']:.4f}  ({bounds})")
    if figures.get("success_rate") is not None:
        moves = figures["path_ratio"]
        ratio = "" if moves is None else f"  (exact; moves over the shortest path {moves:.3f})"
        console.print(f"Success       {figures['success_rate']:.1%} of start cells{ratio}")
    elif (over := result.interval("success_rate_iqm")) is not None:
        bounds = f"95 % interval over seeds {over.low:.1%} to {over.high:.1%}"
        console.print(f"Success IQM   {figures['success_rate_iqm']:.1%}  ({bounds})")
    if len(result.training) == 1 and (steps := result.training[0].steps_to_target) is not None:
        seconds = result.training[0].seconds_to_target
        console.print(f"Target        reached after {steps:,} environment steps, {seconds:.2f} s")
    print_returns(result)
