"""Algorithms without gradients: policies learn in the env runners, their changes are merged and committed once."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.metrics import ENV_RUNNER_SAMPLING_TIMER, SYNCH_WORKER_WEIGHTS_TIMER, TIMERS
from torch import Tensor

from synrl_ray.algorithms.batched import BatchedAlgorithm
from synrl_ray.algorithms.on_policy.algorithm import RolloutConfig
from synrl_ray.plasticity.merging import Merge
from synrl_ray.rl_modules.plastic import commit_deltas
from synrl_ray.rl_modules.stock_algorithms import LOCAL
from synrl_ray.sampling.plastic import LearnedFragment, PlasticEnvRunner


class PlasticLearner(TorchLearner):
    """Holds the weights that go to all runners. It has no optimiser: weights change by
    :func:`~synrl_ray.rl_modules.plastic.commit_deltas` only."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """None."""

    def compute_loss_for_module(self, **kwargs: Any) -> Tensor:
        """There is none."""
        raise NotImplementedError("a plastic learner has no loss")


class PlasticConfig(RolloutConfig):
    """Settings of :class:`PlasticAlgorithm`; ``train_batch_size_per_learner`` steps are divided among the runners."""

    learner = PlasticLearner

    def __init__(self) -> None:
        super().__init__(algo_class=PlasticAlgorithm)
        self.env_runner_cls = PlasticEnvRunner
        self.merge: Merge = "sum"

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {**super()._model_config_auto_includes, LOCAL: True}


class PlasticAlgorithm(BatchedAlgorithm):
    """One iteration: every runner acts and learns for a fragment, what they changed is merged and sent to all."""

    @classmethod
    def get_default_config(cls) -> PlasticConfig:
        """The settings."""
        return PlasticConfig()

    def training_step(self) -> None:
        """Sample and learn, merge, commit, synchronise."""
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            fragments: list[LearnedFragment] = self._sample()
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            parts = [(fragment.delta, fragment.num_steps) for fragment in fragments]
            commit_deltas(self, parts, self.config.merge)
