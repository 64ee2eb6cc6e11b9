"""From DQN's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Self

import gymnasium as gym
from ray.rllib.algorithms.dqn import DQNConfig as RLlibDQNConfig
from ray.rllib.env.env_context import EnvContext
from ray.tune.registry import register_env

from synrl_ray.algorithms.config import GradientConfig
from synrl_ray.algorithms.dqn.algorithm import ReplayDQN
from synrl_ray.algorithms.dqn.env_runner import DQNEnvRunner
from synrl_ray.algorithms.dqn.learner import DQNLearner
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.policies.q_network import check_q_network
from synrl_ray.rl_modules import QModule
from synrl_ray.settings.algorithms import DQN
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig

_ENVIRONMENT = "synrl_ray environment"


class DQNConfig(GradientConfig, RLlibDQNConfig):
    """RLlib's configuration, with our replay.

    ``replay_buffer_config``, ``rollout_fragment_length`` and ``training_intensity`` are not used: the environments take
    ``settings.train_interval`` steps, then there are ``settings.num_updates`` updates, however many env runners there
    are.

    Attributes:
        environment_settings: what an experiment says of its environment.
    """

    settings: DQN
    learner = DQNLearner
    module = QModule
    restarts_runners = False
    environment_settings = Environment(id="")

    def __init__(self) -> None:
        super().__init__(algo_class=ReplayDQN)
        self.replay_buffer_config = {"type": "EpisodeReplayBuffer", "no_local_replay_buffer": True}
        self.env_runner_cls = DQNEnvRunner
        self.use(DQN())

    def use(self, settings: DQN) -> Self:
        """Hold the settings, and tell RLlib's exploration, loss and target updates of theirs."""
        self.settings = settings
        self.training(
            num_steps_sampled_before_learning_starts=settings.learning_starts,
            epsilon=[(0, settings.epsilon_start), (settings.epsilon_steps, settings.epsilon_end)],
            target_network_update_freq=settings.target_update if settings.tau == 1.0 else 1,
            tau=settings.tau,
            double_q=settings.double_q,
            dueling=settings.dueling,
            n_step=settings.n_step,
        )
        return self

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
        """The network has action values, and the replay has room for the transitions that learning waits for."""
        check_q_network(*spaces, network, environment.id)
        starts, capacity = self.settings.learning_starts, self.settings.replay_capacity
        if starts > capacity:
            raise UserError(f"learning_starts {starts} is larger than replay_capacity {capacity}", "change one of them")

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment between two trainings; fewer than ``n_step`` are fine: the replay joins them."""
        return -(-self.settings.train_interval // self.environment_settings.num_envs)


def _make(context: EnvContext) -> gym.Env:
    environment: Environment = context["environment"]
    return make_environment(environment.id, environment.kwargs, environment.preprocessing, training=True)
