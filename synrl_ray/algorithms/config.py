"""What the folder of a gradient algorithm has to say, so that nothing else need know which algorithm it is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, Self

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from synrl_ray.callbacks import PlasticityCallback
from synrl_ray.rl_modules import ActorCriticModule
from synrl_ray.rl_modules.plastic_actor_critic import PlasticActorCritic
from synrl_ray.settings.algorithms import Gradient
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy


class GradientConfig(AlgorithmConfig):
    """An RLlib configuration that holds the settings it is made from: the algorithm reads them there.

    A subclass makes itself known to :data:`synrl_ray.algorithms.table.CONFIGS`.

    Attributes:
        settings: of the algorithm.
        learner: the class that takes the gradient steps.
        module: the class of the policy's RLlib module.
        restarts_runners: whether the algorithm bears the death of an env runner.
    """

    settings: Gradient
    learner: ClassVar[type]
    module: ClassVar[type] = ActorCriticModule
    restarts_runners: ClassVar[bool] = True

    def serve(self, network: PolicyConfig) -> Self:
        """Build that policy; what learns beside the gradients does so by its callback."""
        is_plastic = isinstance(network, SpikingPolicy) and network.plastic is not None
        if is_plastic:
            self.callbacks(PlasticityCallback)
        module = PlasticActorCritic if is_plastic else self.module
        return self.rl_module(rl_module_spec=RLModuleSpec(module_class=module, model_config=asdict(network)))

    @abstractmethod
    def use(self, settings: Any) -> Self:
        """Hold the settings, and tell RLlib what it reads under names of its own."""

    @abstractmethod
    def on(self, environment: Environment) -> Self:
        """Train on this environment."""

    @abstractmethod
    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """Environment steps, or transitions, of each train batch, over all env runners and learners."""

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """Raise :class:`~synrl_ray.errors.UserError` if these settings, network and spaces of an environment do not go
        together; by default all do."""

    def get_default_learner_class(self) -> type:
        """The algorithm's learner; RLlib calls this."""
        return self.learner

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """A spiking policy; RLlib calls this."""
        return RLModuleSpec(module_class=self.module)
