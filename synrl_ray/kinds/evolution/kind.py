"""Policies that are evolved, without gradients: rules by which weights change in an episode, or fixed weights."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.envs.registration import foreign_module
from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.kinds.acting import EVALUATION_OPTIONS, environment, evaluation_share
from synrl_ray.kinds.evolution.checking import check
from synrl_ray.kinds.evolution.evaluating import evaluate, inside, player
from synrl_ray.kinds.evolution.judging import held_out_environment
from synrl_ray.kinds.evolution.printing import print_evaluation, print_outcome
from synrl_ray.kinds.evolution.result import combine, figures
from synrl_ray.kinds.evolution.trainer import EvolutionTrainer
from synrl_ray.running.kind import Kind, Score, Shown


def with_end(experiment: EvolutionExperiment, steps: int) -> EvolutionExperiment:
    """Schedules count generations, and know no end."""
    return replace(experiment, stopping=replace(experiment.stopping, env_steps=steps))


def own_modules(experiment: EvolutionExperiment) -> tuple[str, ...]:
    """That of the environment with what was held out."""
    held_out = held_out_environment(experiment.environment, experiment.held_out)
    module = None if held_out is None else foreign_module(held_out.id, held_out.kwargs)
    return () if module is None else (module,)


KIND: Kind[EvolutionExperiment] = Kind(
    name="evolution",
    shown=(
        Shown("return_mean", "return"),
        Shown("evaluation_return_mean", "greedy", "return_mean"),
    ),
    scores=(Score("evaluation_return_mean", 1, "greedy return"),),
    evaluation_options=EVALUATION_OPTIONS,
    check=check,
    start=EvolutionTrainer,
    evaluation_share=evaluation_share,
    combine=combine,
    figures=figures,
    print_outcome=print_outcome,
    evaluate=evaluate,
    inside=inside,
    player=player,
    print_evaluation=print_evaluation,
    environment=environment,
    own_modules=own_modules,
    with_end=with_end,
)
