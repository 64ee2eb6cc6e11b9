"""Meta-learning: an initialisation from which new tasks are learned fast."""

from __future__ import annotations

from dataclasses import replace

from synrl_ray.experiment import Environment, MetaExperiment
from synrl_ray.kinds.meta.checking import check
from synrl_ray.kinds.meta.evaluating import evaluate, inside
from synrl_ray.kinds.meta.printing import print_outcome, print_scores
from synrl_ray.kinds.meta.result import combine, figures
from synrl_ray.kinds.meta.trainer import MetaTrainer
from synrl_ray.meta.families import family_of
from synrl_ray.running.kind import Kind, Score, Shown, Unit
from synrl_ray.running.spec import RunSpec


def evaluation_share(experiment: MetaExperiment) -> float:
    """Meta-iterations between two evaluations, of all."""
    return experiment.evaluation.interval / experiment.stopping.meta_iterations


def with_data(experiment: MetaExperiment) -> MetaExperiment:
    """With the data set that is at hand."""
    return replace(experiment, tasks=family_of(experiment.tasks).with_data())


def environment(experiment: MetaExperiment) -> Environment | None:
    """That of its tasks, where they are an environment's."""
    return experiment.tasks.environment


def own_modules(experiment: MetaExperiment) -> tuple[str, ...]:
    """The module of a sampler of tasks."""
    return experiment.tasks.own_modules


def learning_processes(spec: RunSpec) -> int:
    """The workers that share a meta-batch."""
    return spec.num_workers


KIND = Kind(
    name="meta",
    unit=Unit("meta_iterations", "meta-iterations", "meta-iterations"),
    shown=(
        Shown("evaluation_regret", "regret", "regret"),
        Shown("evaluation_mean_return", "return", "mean_return"),
        Shown("train_return", "training return"),
        Shown("loss", "loss", unless="train_return"),  # of a policy gradient, whose value means nothing
        Shown("evaluation_accuracy", "validation accuracy"),
        Shown("evaluation_loss", "validation loss"),
        Shown("accuracy", "test accuracy", "accuracy"),
    ),
    scores=(
        Score("evaluation_regret", -1, "minus exact regret"),
        Score("evaluation_accuracy", 1, "validation accuracy"),
        Score("evaluation_mean_return", 1, "validation return"),
        Score("evaluation_loss", -1, "minus validation loss"),
    ),
    evaluation_options=frozenset({"episodes", "shots", "support_statistics", "official_runs"}),
    check=check,
    start=MetaTrainer,
    evaluation_share=evaluation_share,
    combine=combine,
    figures=figures,
    print_outcome=print_outcome,
    evaluate=evaluate,
    inside=inside,
    print_evaluation=print_scores,
    environment=environment,
    own_modules=own_modules,
    with_data=with_data,
    learning_processes=learning_processes,
)
