"""Tabular Q-learning as an RLlib algorithm, on environments with a transition table."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.policies.local.table import make_agent
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.sampling.q_learning import QLearningEnvRunner
from synrl_ray.settings.q_learning import QLearning


class QLearningConfig(PlasticConfig):
    """Settings of tabular Q-learning.

    Tables that several env runners have learned from the same start are averaged: a sum of their changes would go
    beyond the targets wherever two have learned the same value.

    Example:
        >>> config = QLearningConfig().environment("Taxi-v3").q_learning(lr=0.5)
        >>> config = config.env_runners(num_envs_per_env_runner=16).training(train_batch_size_per_learner=10_000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.env_runner_cls = QLearningEnvRunner
        self.merge = "mean"
        self.q_learning()

    def q_learning(self, **settings: Any) -> QLearningConfig:
        """Set those of :class:`~synrl_ray.settings.q_learning.QLearning`; the others return to their defaults."""
        self.rl_module(rl_module_spec=_table(QLearning(**settings)))
        return self

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """A table of action values."""
        return _table(QLearning())


def _table(settings: QLearning) -> RLModuleSpec:
    make = partial(make_agent, settings=settings)
    return RLModuleSpec(module_class=LocalModule, model_config={"make": make})
