"""The trainer of classifiers: a Tune trainable and the classifier that it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.kinds.classification.result import finish
from synrl_ray.kinds.tune_trainer import TuneTrainer
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.kind import Measured
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec


class ClassificationTrainer(TuneTrainer):
    """Trains a classifier; an iteration is an epoch, evaluated on the images held out for validation."""

    interval = 1  # every epoch

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.supervised.trainable import ClassifierTrainable

        self.spec = spec
        experiment = spec.experiment_as(ClassificationExperiment)
        scale = {"gpus_per_learner": spec.gpus_per_learner}
        self.trainable = ClassifierTrainable(
            {"experiment": experiment, "policy": spec.policy, "seed": spec.seed, **scale}
        )
        self.total = self.trainable.samples_per_epoch * experiment.stopping.epochs
        self.newest: dict[str, Any] = {}

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

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Judge on the official test set, write result and pictures."""
        return finish(folder, self.spec, self.trainable, position)
