"""Reinforcement learning with gradients, by RLlib."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.errors import UserError
from synrl_ray.experiment import Experiment
from synrl_ray.kinds.acting import EVALUATION_OPTIONS, environment, evaluation_share
from synrl_ray.kinds.control.checking import check
from synrl_ray.kinds.control.evaluating import evaluate, player
from synrl_ray.kinds.control.exporting import export_nir
from synrl_ray.kinds.control.inside import inside
from synrl_ray.kinds.control.printing import print_evaluation, print_outcome
from synrl_ray.kinds.control.result import combine, figures
from synrl_ray.kinds.control.trainer import ControlTrainer
from synrl_ray.running.kind import Kind, Score, Shown, no_learners
from synrl_ray.running.spec import RunSpec


def with_end(experiment: Experiment, steps: int) -> Experiment:
    """Schedules keep the end that they were made for."""
    stopping = experiment.stopping
    if steps == stopping.env_steps:
        return experiment
    planned = stopping.schedule_steps or stopping.env_steps
    return replace(experiment, stopping=replace(stopping, env_steps=steps, schedule_steps=planned))


def own_modules(experiment: Experiment) -> tuple[str, ...]:
    """That of a network of the user's own."""
    return experiment.spiking.modules


def learners(experiment: Experiment, num_workers: int, num_learners: int) -> int:
    """As many as are asked for where batches can be shared, and one at least where sampling goes on meanwhile."""
    algorithm = experiment.algorithm
    if not algorithm.several_learners:
        return no_learners(experiment, num_workers, num_learners)
    if not algorithm.asynchronous:
        return num_learners
    if num_learners and not num_workers:
        raise UserError("--num-learners means nothing without --num-workers here", "sampling and learning take turns")
    return max(1, num_learners) if num_workers else 0


def learning_processes(spec: RunSpec) -> int:
    """The learners."""
    return spec.num_learners


KIND: Kind[Experiment] = Kind(
    name="control",
    shown=(Shown("return_mean", "return"), Shown("evaluation_return_mean", "greedy", "return_mean")),
    scores=(Score("evaluation_return_mean", 1, "greedy return"),),
    pickles=True,
    evaluation_options=EVALUATION_OPTIONS,
    check=check,
    start=ControlTrainer,
    evaluation_share=evaluation_share,
    combine=combine,
    figures=figures,
    print_outcome=print_outcome,
    evaluate=evaluate,
    player=player,
    inside=inside,
    print_evaluation=print_evaluation,
    export=export_nir,
    environment=environment,
    own_modules=own_modules,
    with_end=with_end,
    learners=learners,
    learning_processes=learning_processes,
)
