"""Image classification as a run's task: a Tune trainable and the classifier that it trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from synrl_ray.data.mnist import load_mnist
from synrl_ray.errors import UserError
from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.kinds.classification.result import combine_accuracies, draw_accuracy_curves, finish_classification
from synrl_ray.kinds.tune_trainer import TrainableTask
from synrl_ray.running.run_folder import Position, RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.task import Measured


class ClassificationTask(TrainableTask):
    """Trains a classifier; an iteration is an epoch, evaluated on the images held out for validation."""

    unit = "samples"
    interval = 1  # every epoch

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.supervised.trainable import ClassifierTrainable

        self.spec = spec
        experiment = cast(ClassificationExperiment, spec.experiment)
        self.trainable = ClassifierTrainable({"experiment": experiment, "policy": spec.policy, "seed": spec.seed})
        self.total = self.trainable.samples_per_epoch * experiment.stopping.epochs
        self.newest: dict[str, Any] = {}

    @staticmethod
    def check(spec: RunSpec) -> None:
        """Raise :class:`UserError` for missing data, or layers that do not fit the images."""
        from synrl_ray.policies.images import behind_convolutions
        from synrl_ray.supervised.model import Classifier

        experiment = cast(ClassificationExperiment, spec.experiment)
        if spec.num_workers:
            raise UserError("--num-workers means nothing for a classifier", "leave it out")
        config = experiment.policy(spec.policy)
        if config.architecture == "conv" and len(config.hidden_sizes) != 1:
            raise behind_convolutions(config)
        try:
            Classifier(config, experiment.data.classes)
        except ValueError as error:
            raise UserError(f"{error}: the images have 28 x 28 pixels", f"give {config.kind}.channels fewer") from error
        load_mnist(experiment.data.classes)

    @staticmethod
    def combine(results: Sequence[dict[str, Any]], spec: RunSpec) -> dict[str, Any]:
        """Accuracy over seeds."""
        return combine_accuracies(results)

    @staticmethod
    def draw(folders: Sequence[RunFolder], path: Path) -> None:
        """Accuracy against images seen."""
        draw_accuracy_curves(folders, path)

    def train_once(self) -> Measured:
        """One epoch."""
        self.newest = self.trainable.train()
        return Measured(
            steps=self.newest["samples"],
            episodes=0,
            row={name: self.newest[name] for name in ("loss", "train_accuracy")},
        )

    def evaluate(self) -> dict[str, float]:
        """Accuracy on held-out training images, which the epoch has measured."""
        return {"evaluation_accuracy": self.newest["validation_accuracy"]}

    def export(self, folder: Path) -> None:
        """The classifier's files."""
        from synrl_ray.supervised.files import save_classifier

        save_classifier(self.trainable.model, folder, experiment=self.spec.experiment.id)

    def finish(self, folder: RunFolder, position: Position) -> dict[str, Any]:
        """Judge on the official test set, write result and pictures."""
        return finish_classification(folder, self.spec, self.trainable, position)
