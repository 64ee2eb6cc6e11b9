"""The trainer of policies: an RLlib algorithm and the network that it trains."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synrl_ray.experiment import Experiment
from synrl_ray.kinds.acting import described_environment, interim_evaluation
from synrl_ray.kinds.control.result import finish
from synrl_ray.kinds.rllib_trainer import RLlibTrainer, build, finite
from synrl_ray.results import Result
from synrl_ray.running.checkpoints import Position
from synrl_ray.running.kind import Measured
from synrl_ray.running.parallel_evaluation import Judging
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    from synrl_ray.policies.policy import Policy


class ControlTrainer(RLlibTrainer):
    """Trains a policy on an environment."""

    experiment: Experiment

    def __init__(self, spec: RunSpec) -> None:
        from synrl_ray.policies.images import notices

        self.spec = spec
        self.experiment = spec.experiment_as(Experiment)
        self.total = self.experiment.stopping.env_steps
        self.interval = self.experiment.evaluation.interval_steps
        self.algorithm = build(configure(spec))
        module = self.algorithm.get_module()
        self._notices = notices(module.observation_space, module.network.config)

    def train_once(self) -> Measured:
        """One iteration; the first one says how observations are read."""
        measured = super().train_once()
        told, self._notices = self._notices, ()
        return replace(measured, notices=(*told, *measured.notices))

    def judging(self) -> Judging:
        """Greedy episodes."""
        experiment = self.experiment
        return partial(interim_evaluation, self.policy(), experiment.environment, experiment.evaluation)

    def is_solved(self, row: dict[str, Any]) -> bool:
        """Whether the greedy return allows training to end."""
        wanted, reached = self.experiment.stopping.mean_return, row.get("evaluation_return_mean")
        return wanted is not None and reached is not None and reached >= wanted

    def policy(self) -> Policy:
        """The policy as it is now."""
        from synrl_ray.policies.policy import Policy

        module = self.algorithm.get_module()
        return Policy(module.network, module.observation_space, module.action_space)

    def export(self, folder: Path) -> None:
        """The policy with the environment that it was trained on."""
        environment = described_environment(self.experiment.environment)
        self.policy().save(folder, experiment=self.experiment.id, environment=environment)

    def finish(self, folder: RunFolder, position: Position) -> Result:
        """Evaluate by the experiment's protocol."""
        return finish(folder, self.spec, self.trained, position)

    def _own_columns(self, result: dict[str, Any]) -> dict[str, float | None]:
        """Losses."""
        losses = result.get("learners", {}).get("default_policy", {})
        return {
            "policy_loss": finite(losses.get("policy_loss")),
            "value_loss": finite(losses.get("vf_loss")),
            "entropy": finite(losses.get("entropy")),
            **{name: finite(losses[key]) for name, key in _OF_Q_LEARNING.items() if key in losses},
            "lr": finite(losses.get("default_optimizer_learning_rate")),
            **{name: finite(result[name]) for name in _OF_ASYNCHRONOUS if name in result},
        }


_OF_ASYNCHRONOUS = ("lag_mean", "lag_max", "num_fragments_left_out", "learner_busy")
_OF_Q_LEARNING = {"q_loss": "qf_loss", "q_mean": "qf_mean", "td_error": "td_error_mean"}


def configure(spec: RunSpec) -> AlgorithmConfig:
    """The algorithm's configuration.

    Raises:
        ValueError: for a batch that the learners cannot share.
    """
    from synrl_ray.algorithms.build import algorithm_config

    config = algorithm_config(
        spec.experiment_as(Experiment),
        spec.policy,
        seed=spec.seed,
        num_workers=spec.num_workers,
        num_learners=spec.num_learners,
    )
    return config.learners(num_gpus_per_learner=spec.gpus_per_learner)
