"""Agents that learn where they act, by local rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from synrl_ray.experiment import LocalExperiment
from synrl_ray.files import at_hand
from synrl_ray.kinds.acting import EVALUATION_OPTIONS, environment, evaluation_share
from synrl_ray.kinds.local.checking import check
from synrl_ray.kinds.local.evaluating import evaluate, inside, player
from synrl_ray.kinds.local.printing import print_evaluation, print_outcome
from synrl_ray.kinds.local.result import combine, figures
from synrl_ray.kinds.local.trainer import LocalTrainer
from synrl_ray.running.kind import Kind, Score, Shown


def with_data(experiment: LocalExperiment) -> LocalExperiment:
    """With the place of the policy that it starts from."""
    if experiment.initial_policy is None:
        return experiment
    return replace(experiment, initial_policy=str(at_hand(Path(experiment.initial_policy))))


KIND: Kind[LocalExperiment] = Kind(
    name="local",
    shown=(
        Shown("return_mean", "return"),
        Shown("evaluation_return_mean", "greedy", "return_mean"),
        Shown("evaluation_regret", "regret", "regret"),
        Shown("evaluation_success_rate", "success"),
    ),
    scores=(
        Score("evaluation_success_rate", 1, "success rate"),
        Score("evaluation_regret", -1, "minus exact regret"),
        Score("evaluation_return_mean", 1, "greedy return"),
    ),
    pickles=True,
    evaluation_options=EVALUATION_OPTIONS,
    check=check,
    start=LocalTrainer,
    evaluation_share=evaluation_share,
    combine=combine,
    figures=figures,
    print_outcome=print_outcome,
    evaluate=evaluate,
    player=player,
    inside=inside,
    print_evaluation=print_evaluation,
    environment=environment,
    with_data=with_data,
)
