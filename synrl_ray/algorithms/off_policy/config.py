"""What the configurations of algorithms share that learn from a replay."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import register_env

from synrl_ray.algorithms.config import GradientConfig
from synrl_ray.algorithms.off_policy.env_runner import ReplayEnvRunner
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.settings.algorithms import OffPolicy
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig

_ENVIRONMENT = "synrl_ray environment"


class OffPolicyConfig(GradientConfig):
    """RLlib's configuration, with our replay; a subclass adds RLlib's own of its algorithm.

    ``replay_buffer_config``, ``rollout_fragment_length`` and ``training_intensity`` are not used: the environments take
    ``settings.train_interval`` steps, then there are ``settings.num_updates`` updates, however many env runners there
    are.

    Attributes:
        environment_settings: what an experiment says of its environment.
    """

    settings: OffPolicy
    restarts_runners = False
    environment_settings = Environment(id="")

    def use(self, settings: Any) -> Self:
        """Hold the settings, and tell RLlib's loss and target updates of theirs."""
        self.settings = settings
        self.replay_buffer_config = {"type": "EpisodeReplayBuffer", "no_local_replay_buffer": True}
        self.env_runner_cls = ReplayEnvRunner
        return self.training(
            num_steps_sampled_before_learning_starts=settings.learning_starts, tau=settings.tau, n_step=settings.n_step
        )

    def on(self, environment: Environment) -> Self:
        """Train on this environment, made by us: RLlib's env runner knows no preprocessing."""
        register_env(_ENVIRONMENT, _make)
        self.environment(_ENVIRONMENT, env_config={"environment": environment})
        self.environment_settings = environment
        return self

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """Transitions of an update."""
        return self.settings.train_batch_size

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """The replay has room for the transitions that learning waits for."""
        starts, capacity = self.settings.learning_starts, self.settings.replay_capacity
        if starts > capacity:
            raise UserError(f"learning_starts {starts} is larger than replay_capacity {capacity}", "change one of them")

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment between two trainings; fewer than ``n_step`` are fine: the replay joins them."""
        return -(-self.settings.train_interval // self.environment_settings.num_envs)


def _make(context: EnvContext) -> gym.Env:
    environment: Environment = context["environment"]
    return make_environment(environment.id, environment.kwargs, environment.preprocessing, training=True)
