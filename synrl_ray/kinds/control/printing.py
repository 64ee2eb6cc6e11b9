"""What the commands print of a policy."""

from __future__ import annotations

from synrl_ray.experiment import Experiment
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
from synrl_ray.running.again import twin_command
from synrl_ray.running.kind import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Score, where the files are, and the command for the twin."""
    result, several = outcome.result, len(outcome.runs) > 1
    if several:
        bounds = (result.target and result.target.bounds) or {}
        target = f"{bounds['mean_return']:g}" if bounds else None
        print_seeds(result, "return_mean", "greedy return", ".1f", target)
    else:
        print_training(result)
    print_score(result)
    print_episode_files(outcome, outcome.spec.experiment_as(Experiment).environment)
    if not several and (twin := twin_command(outcome.spec, outcome.runs[0])) is not None:
        console.print(f"Compare       {twin}")


def print_evaluation(result: Result) -> None:
    """Score, and where the video is."""
    print_judged(result)
    print_score(result)
    print_film(result)


def print_score(result: Result) -> None:
    """Return, and the energy of a decision."""
    print_returns(result)
    energy = result.energy
    if energy is not None:
        own, twin = energy["policy"], energy["matched_ann"]
        console.print(
            f"Energy        {own['energy_pj'] / 1000:.2f} nJ a decision ({own['effective_macs']:,.0f} MACs, "
            f"{own['effective_acs']:,.0f} ACs, {own['activation_sparsity']:.0%} of activations zero); "
            f"a non-spiking network of the same layers {twin['energy_pj'] / 1000:.2f} nJ"
        )
        if (strict := energy.get("policy_strict")) is not None:
            most = energy.get("matched_ann_strict")
            beside = f"; that network at most {most['energy_pj'] / 1000:.2f} nJ" if most else ""
            console.print(
                f"  strictly    {strict['energy_pj'] / 1000:.2f} nJ, {strict['memory_pj'] / 1000:.2f} of them for "
                f"{strict['memory_accesses']:,.0f} accesses of memory{beside}"
            )
