"""What one run is: an experiment, one of its policies, a seed, a scale. Written to ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from synrl_ray.experiment import AnyExperiment, PolicyKind
from synrl_ray.overrides import experiment_from_json, experiment_to_json

_FORMAT = 1
E = TypeVar("E")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run."""

    experiment: AnyExperiment
    policy: PolicyKind
    seed: int
    num_workers: int
    """Env runners in processes of their own."""
    num_learners: int = 0
    """Learners in processes of their own."""
    gpus_per_learner: float = 0.0
    """GPUs of whoever computes gradients, a share of one or one; 0 learns on the CPU."""

    @property
    def num_processes(self) -> int:
        """Processes beside the trainer's; each takes a CPU."""
        return self.num_workers + self.num_learners

    def experiment_as(self, described: type[E]) -> E:
        """The experiment, known to be of that type: a kind of run meets its own ones only."""
        if not isinstance(self.experiment, described):
            raise TypeError(f"{self.experiment.id} is no {described.__name__}")
        return self.experiment

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "format": _FORMAT,
            "policy": self.policy,
            "seed": self.seed,
            "num_workers": self.num_workers,
            "num_learners": self.num_learners,
            "gpus_per_learner": self.gpus_per_learner,
            "experiment": experiment_to_json(self.experiment),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> RunSpec:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: if the data are not a run's.
        """
        if data.get("format") != _FORMAT:
            raise ValueError(f"format {data.get('format')!r} is not known")
        policy, experiment = data["policy"], experiment_from_json(data["experiment"])
        if policy not in experiment.policies:
            raise ValueError(f"policy {policy!r} is not known")
        return RunSpec(
            experiment=experiment,
            policy=policy,
            seed=int(data["seed"]),
            num_workers=int(data["num_workers"]),
            num_learners=int(data.get("num_learners", 0)),
            gpus_per_learner=float(data.get("gpus_per_learner", 0.0)),
        )
