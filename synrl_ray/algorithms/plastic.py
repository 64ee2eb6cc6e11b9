"""Algorithms without gradients: policies learn in the env runners, their changes are merged and committed once."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.metrics import ENV_RUNNER_SAMPLING_TIMER, SYNCH_WORKER_WEIGHTS_TIMER, TIMERS
from torch import Tensor

from synrl_ray.algorithms.batched import BatchedAlgorithm, BatchedConfig
from synrl_ray.plasticity.merging import Merge
from synrl_ray.policies.local.table import agent_class, make_agent
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.rl_modules.plastic import commit_deltas
from synrl_ray.rl_modules.stock_algorithms import LOCAL
from synrl_ray.sampling.plastic import LearnedFragment, PlasticEnvRunner
from synrl_ray.sampling.tabular import TabularEnvRunner
from synrl_ray.settings.local import LocalSettings


class PlasticLearner(TorchLearner):
    """Holds the weights that go to all runners. It has no optimiser: weights change by
    :func:`~synrl_ray.rl_modules.plastic.commit_deltas` only."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """None."""

    def compute_loss_for_module(self, **kwargs: Any) -> Tensor:
        """There is none."""
        raise NotImplementedError("a plastic learner has no loss")


class PlasticConfig(BatchedConfig):
    """Settings of :class:`PlasticAlgorithm`; ``train_batch_size_per_learner`` steps are divided among the runners.

    Attributes:
        merge: how the changes of several runners become one. Tables of action values are averaged: a sum of their
            changes would go beyond the targets wherever two runners have learned the same value.

    Example:
        >>> from synrl_ray.settings.q_learning import QLearning
        >>> config = PlasticConfig().environment("Taxi-v3").rule(QLearning(lr=0.5))
        >>> config = config.env_runners(num_envs_per_env_runner=16).training(train_batch_size_per_learner=10_000)
    """

    def __init__(self) -> None:
        super().__init__(algo_class=PlasticAlgorithm)
        self.env_runner_cls = PlasticEnvRunner
        self.merge: Merge = "sum"

    def rule(self, settings: LocalSettings, **options: Any) -> Self:
        """Let an agent learn by these settings; ``options`` are those of
        :func:`~synrl_ray.policies.local.table.make_agent`."""
        make = partial(make_agent, settings=settings, **options)
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=LocalModule, model_config={"make": make}))
        self.env_runner_cls = TabularEnvRunner if agent_class(settings).needs_table else PlasticEnvRunner
        return self

    def get_default_learner_class(self) -> type:
        """The learner without an optimiser; RLlib calls this."""
        return PlasticLearner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """An agent that :meth:`rule` is to make; RLlib calls this."""
        return RLModuleSpec(module_class=LocalModule)

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {**super()._model_config_auto_includes, LOCAL: True}


class PlasticAlgorithm(BatchedAlgorithm):
    """One iteration: every runner acts and learns for a fragment, what they changed is merged and sent to all."""

    def training_step(self) -> None:
        """Sample and learn, merge, commit, synchronise."""
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            fragments: list[LearnedFragment] = self._sample()
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            parts = [(fragment.delta, fragment.num_steps) for fragment in fragments]
            commit_deltas(self, parts, self.config.merge)
