"""What the commands print of an evolved policy."""

from __future__ import annotations

from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.kinds.evolution.judging import HELD_OUT
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

_CONTROLS = {
    "shuffled": ("Shuffled", "synapses of a layer exchanged"),
    HELD_OUT: ("Held out", "changes that evolution never met"),
    f"{HELD_OUT}_zeroed": ("", "these, with weights as at the episode's start"),
}


def print_outcome(outcome: Outcome) -> None:
    """Returns with and without plasticity, and where the files are."""
    result, experiment = outcome.result, outcome.spec.experiment_as(EvolutionExperiment)
    if len(outcome.runs) > 1:
        target = None if experiment.target is None else f"mean return {experiment.target.mean_return:g}"
        print_seeds(result, "return_mean", "mean return", ".1f", target)
    else:
        print_training(result)
    _print_figures(result)
    print_episode_files(outcome, experiment.environment)


def print_evaluation(result: Result) -> None:
    """Returns with and without plasticity, and where the video is."""
    print_judged(result)
    _print_figures(result)
    print_film(result)


def _print_figures(result: Result) -> None:
    print_returns(result)
    for way, (label, meaning) in _CONTROLS.items():
        value = result.figures.get(f"{way}_return_iqm")
        if value is not None:
            over = result.interval(f"{way}_return_iqm")
            sure = f", 95 % interval over seeds {over.low:.1f} to {over.high:.1f}" if over else ""
            console.print(f"{label:<13} {value:.1f}  ({meaning}{sure})")
