"""The trainer of meta-learners: a Tune trainable and the initialisation that it trains."""

from __future__ import annotations

from pathlib import Path

from synrl_ray.experiment import MetaExperiment
from synrl_ray.kinds.meta.judging import judge_of
from synrl_ray.kinds.meta.result import finish
from synrl_ray.kinds.tune_trainer import TuneTrainer
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.kind import Measured
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec


class MetaTrainer(TuneTrainer):
    """Meta-trains a learner; an iteration is some meta-iterations, evaluated on validation tasks."""

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.meta.trainable import MetaTrainable

        self.spec, self.experiment = spec, spec.experiment_as(MetaExperiment)
        self.trainable = MetaTrainable(
            {
                "experiment": self.experiment,
                "policy": spec.policy,
                "seed": spec.seed,
                "num_workers": spec.num_workers,
                "gpus_per_learner": spec.gpus_per_learner,
            }
        )
        learner = self.experiment.learner(spec.policy)
        self.judge = judge_of(self.trainable.maml, learner, self.experiment.tasks)
        self.total = self.experiment.stopping.meta_iterations
        self.interval = self.experiment.evaluation.interval

    def train_once(self) -> Measured:
        """Some meta-iterations."""
        row = self.trainable.train()
        columns = ("loss", "train_accuracy", "train_return", "gradient_norm", "meta_lr", "worker_restarts")
        return Measured(
            steps=row["meta_iterations"], episodes=0, row={name: row[name] for name in columns if name in row}
        )

    def evaluate(self) -> dict[str, float | None]:
        """On validation tasks; no loss where one is not finite."""
        protocol = self.experiment.evaluation
        found = self.judge.on_validation_tasks(protocol.interim_tasks, protocol.inner_steps)
        return {f"evaluation_{name}": value for name, value in found.items()}

    def export(self, folder: Path) -> None:
        """The initialisation's files."""
        from synrl_ray.meta.files import save_maml

        protocol = self.experiment.evaluation
        save_maml(
            self.trainable.maml,
            self.judge.learner,
            self.experiment.tasks,
            folder,
            experiment=self.experiment.id,
            data=self.judge.family.data,
            evaluation={"tasks": protocol.tasks, "inner_steps": protocol.inner_steps},
        )

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Judge on test tasks, write result and picture."""
        return finish(folder, self.spec, self.judge, position)
