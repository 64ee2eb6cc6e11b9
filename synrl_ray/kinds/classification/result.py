"""From a trained classifier to ``result.json`` and its pictures; and the same for several seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synrl_ray.evaluation.curves import Curve, plot_learning_curve
from synrl_ray.evaluation.proportion import wilson_interval
from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.kinds.result import title_of, versions
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from synrl_ray.supervised.trainable import ClassifierTrainable


def finish(folder: RunFolder, spec: RunSpec, trainable: ClassifierTrainable, position: Position) -> dict[str, Any]:
    """Judge on the official test set; write ``result.json`` and the pictures."""
    from synrl_ray.supervised.pictures import draw_activity, draw_confusion

    test, classes = trainable.test_set, trainable.model.classes
    predicted = trainable.predict(test)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (test.labels, predicted), 1)
    num_correct = int(np.trace(confusion))
    target = spec.experiment_as(ClassificationExperiment).target
    result = {
        "experiment": spec.experiment.id,
        "policy": spec.policy,
        "seed": spec.seed,
        "samples": position.steps,
        "epochs": position.iteration,
        "wall_seconds": round(position.wall_seconds, 2),
        "samples_per_second": round(position.steps / max(position.wall_seconds, 1e-9), 1),
        "accuracy": num_correct / len(test),
        "accuracy_ci95": list(wilson_interval(num_correct, len(test))),
        "errors": len(test) - num_correct,
        "target_reached": None if target is None else num_correct / len(test) >= target.accuracy,
        "confusion": confusion.tolist(),
        "protocol": {
            "data": "MNIST, official test set",
            "classes": list(classes),
            "test_images": len(test),
            "training_images": len(trainable.training_set),
            "validation_images": len(trainable.validation_set),
            "interval": "Wilson score interval of the proportion",
        },
        "versions": versions(),
    }
    folder.write_result(result)
    draw([folder], folder.path / "learning_curve.png")
    draw_confusion(confusion, classes, folder.path / "confusion.png")
    if spec.policy == "spiking":
        first_of_each = [int(np.flatnonzero(test.labels == label)[0]) for label in range(min(len(classes), 3))]
        draw_activity(trainable.model, test.images[first_of_each], folder.path / "activity.png")
    return result


def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
    """Each seed's accuracy, and their mean.

    The interval is that of one test set at the mean accuracy: the seeds share its images, so that more seeds make it
    no narrower.
    """
    first = results[0]
    total = first["protocol"]["test_images"]
    num_correct = total - round(sum(r["errors"] for r in results) / len(results))
    return {
        "experiment": first["experiment"],
        "policy": first["policy"],
        "seeds": [r["seed"] for r in results],
        "wall_seconds": [r["wall_seconds"] for r in results],
        "accuracy": sum(r["accuracy"] for r in results) / len(results),
        "accuracy_ci95": list(wilson_interval(num_correct, total)),
        "errors": [r["errors"] for r in results],
        "accuracy_per_seed": [r["accuracy"] for r in results],
        "protocol": first["protocol"],
        "versions": first["versions"],
    }


def draw(folders: Sequence[RunFolder], path: Path) -> None:
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
    plot_learning_curve(
        curves,
        path,
        title=title_of(folders, "classifier"),
        target=None if target is None else target.accuracy,
        xlabel="training images seen",
        ylabel="validation accuracy",
        yunit="",
        line="validation",
    )
