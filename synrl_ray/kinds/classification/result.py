"""From a trained classifier to ``result.json`` and its pictures; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synrl_ray.data.mnist import LabelledImages
from synrl_ray.evaluation.confusion_figure import confusion_figure
from synrl_ray.evaluation.curves import LEARNING_CURVE, Curve, learning_curve
from synrl_ray.evaluation.proportion import wilson_interval
from synrl_ray.evaluation.saving import save_figure, save_figures
from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.kinds.result import (
    bounds_of,
    column,
    combined,
    provenance_of,
    target_reached,
    targets_reached,
    title_of,
    training_of,
)
from synrl_ray.results import Interval, Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from synrl_ray.supervised.trainable import ClassifierTrainable


def judge(
    predicted: NDArray[Any], test: LabelledImages, classes: Sequence[int], policy: str, experiment: str | None
) -> Result:
    """The result of predictions on the official test set.

    Args:
        predicted: index of a class for each image, ``[images]``.
        test: the images with the indices of their classes.
        classes: digits.
        policy, experiment: what was judged.
    """
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (test.labels, predicted), 1)
    num_correct = int(np.trace(confusion))
    return Result(
        experiment=experiment,
        policy=policy,
        score="accuracy",
        figures={"accuracy": num_correct / len(test), "errors": len(test) - num_correct},
        intervals=(_interval(num_correct, len(test)),),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        protocol={"data": "MNIST, official test set", "classes": list(classes), "test_images": len(test)},
    )


def finish(folder: RunFolder, spec: RunSpec, trainable: ClassifierTrainable, position: Position) -> Result:
    """Judge on the official test set; write ``result.json`` and the pictures."""
    from synrl_ray.kinds.classification.pictures import draw_activity

    experiment = spec.experiment_as(ClassificationExperiment)
    test, classes = trainable.test_set, trainable.model.classes
    found = judge(trainable.predict(test), test, classes, spec.policy, experiment.id)
    sizes = {"training_images": len(trainable.training_set), "validation_images": len(trainable.validation_set)}
    result = replace(
        found,
        training=(training_of(spec, position, "samples"),),
        target=target_reached(bounds_of(experiment), None, _is_reached(found, experiment)),
        protocol={**found.protocol, **sizes},
        provenance=provenance_of(spec),
    )
    folder.write_result(result)
    save_figures(figures([folder]), folder.path)
    save_figure(confusion_figure(np.array(result.confusion), classes), folder.path / "confusion.png")
    if spec.policy == "spiking":
        first_of_each = [int(np.flatnonzero(test.labels == label)[0]) for label in range(min(len(classes), 3))]
        draw_activity(trainable.model, test.images[first_of_each], folder.path / "activity.png")
    return result


def combine(results: Sequence[Result], spec: RunSpec) -> Result:
    """Each seed's accuracy, and their mean.

    The interval is that of one test set at the mean accuracy: the seeds share its images, so that more seeds make it
    no narrower.
    """
    experiment = spec.experiment_as(ClassificationExperiment)
    total, errors = results[0].protocol["test_images"], [result.figure("errors") for result in results]
    mean = sum(errors) / len(errors)
    reached = [_is_reached(result, experiment) for result in results]
    return combined(
        results,
        spec,
        score="accuracy",
        figures={"accuracy": sum(result.figure("accuracy") for result in results) / len(results), "errors": mean},
        intervals=(_interval(total - round(mean), total),),
        per_seed={name: column(results, name) for name in ("accuracy", "errors")},
        target=targets_reached(results, bounds_of(experiment), reached, in_training=False),
    )


def _interval(num_correct: int, num_images: int) -> Interval:
    low, high = wilson_interval(num_correct, num_images)
    return Interval(of="accuracy", low=low, high=high, method="Wilson score interval", over="test images")


def _is_reached(result: Result, experiment: ClassificationExperiment) -> bool:
    return experiment.target is not None and result.figure("accuracy") >= experiment.target.accuracy


def figures(folders: Sequence[RunFolder]) -> dict[str, Figure]:
    """Validation accuracy against images seen."""
    spec = folders[0].spec()
    target = spec.experiment_as(ClassificationExperiment).target
    curves = []
    for folder in folders:
        rows = folder.metrics("samples", "evaluation_accuracy")
        curves.append(
            Curve(
                label=spec.policy,
                env_steps=[row["samples"] for row in rows],
                returns=[row["evaluation_accuracy"] for row in rows],
            )
        )
    curve = learning_curve(
        curves,
        title=title_of(folders, "classifier"),
        target=None if target is None else target.accuracy,
        xlabel="training images seen",
        ylabel="validation accuracy",
        yunit="",
        line="validation",
    )
    return {LEARNING_CURVE: curve}
