"""Images to classes."""

from __future__ import annotations

from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.kinds.classification.checking import check
from synrl_ray.kinds.classification.evaluating import evaluate, inside
from synrl_ray.kinds.classification.printing import print_evaluation, print_outcome
from synrl_ray.kinds.classification.result import combine, figures
from synrl_ray.kinds.classification.trainer import ClassificationTrainer
from synrl_ray.running.kind import Kind, Score, Shown, Unit
from synrl_ray.running.spec import RunSpec


def evaluation_share(experiment: ClassificationExperiment) -> float:
    """One epoch of all."""
    return 1 / experiment.stopping.epochs


def learning_processes(spec: RunSpec) -> int:
    """None beside the trainer's."""
    return 0


KIND = Kind(
    name="classification",
    unit=Unit("samples", "images", "images"),
    shown=(
        Shown("loss", "loss"),
        Shown("evaluation_accuracy", "validation accuracy"),
        Shown("accuracy", "test accuracy", "accuracy"),
    ),
    scores=(Score("evaluation_accuracy", 1, "validation accuracy"),),
    check=check,
    start=ClassificationTrainer,
    evaluation_share=evaluation_share,
    combine=combine,
    figures=figures,
    print_outcome=print_outcome,
    evaluate=evaluate,
    inside=inside,
    print_evaluation=print_evaluation,
    learning_processes=learning_processes,
)
