"""From PQN's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Self

import gymnasium as gym

from synrl_ray.algorithms.on_policy.algorithm import Estimate, RolloutConfig, check_sequences
from synrl_ray.algorithms.pqn.learner import PQNLearner
from synrl_ray.errors import UserError
from synrl_ray.policies.q_network import check_rolled_out
from synrl_ray.rl_modules.q_rollouts import QRolloutModule
from synrl_ray.sampling.exploring import ExploringEnvRunner
from synrl_ray.settings.algorithms import PQN
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig

_STEPS_PER_ROW = 2000


class PQNConfig(RolloutConfig):
    """Parallelised Q-network (Gallici et al. 2024, arXiv:2407.04811)."""

    settings: PQN
    learner = PQNLearner
    module = QRolloutModule

    def __init__(self) -> None:
        super().__init__()
        self.env_runner_cls = ExploringEnvRunner
        self.use(PQN())
        # Its batches may be small: a row of metrics for each would cost more than some of them.
        self.reporting(min_sample_timesteps_per_iteration=_STEPS_PER_ROW)

    def use(self, settings: PQN) -> Self:
        """Hold the settings; passes and minibatches are RLlib's too."""
        super().use(settings)
        self.training(num_epochs=settings.num_epochs, minibatch_size=settings.minibatch_size)
        return self

    @property
    def estimate(self) -> Estimate:
        """Value targets are the lambda-returns, since values are the highest action values."""
        return Estimate(gae_lambda=self.settings.q_lambda)

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """A fragment of every environment."""
        return self.settings.num_steps * num_envs

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """The network has action values and no critic; fragments of a policy that carries a state are whole sequences;
        a minibatch is part of a batch."""
        check_rolled_out(*spaces, network, environment.id)
        check_sequences(self.settings.num_steps, network)
        minibatch, batch = self.settings.minibatch_size, self.batch_steps(environment.num_envs, network)
        if minibatch > batch:
            problem = f"minibatch_size {minibatch} is larger than a batch, num_steps times num_envs, {batch}"
            raise UserError(problem, "make it smaller")
