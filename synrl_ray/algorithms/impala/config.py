"""From IMPALA's settings to its RLlib configuration."""

from __future__ import annotations

from typing import Self

import gymnasium as gym

from synrl_ray.algorithms.impala.algorithm import BATCHES_AT_LEARNERS, ImpalaAlgorithm
from synrl_ray.algorithms.impala.learner import ImpalaLearner
from synrl_ray.algorithms.on_policy.algorithm import Estimate, OnPolicyConfig, check_sequences
from synrl_ray.errors import UserError
from synrl_ray.sampling.asynchronous import AsynchronousEnvRunner
from synrl_ray.settings.algorithms import IMPALA
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policies import PolicyConfig, SpikingPolicy


class ImpalaConfig(OnPolicyConfig):
    """Importance-weighted actor-learner (Espeholt et al. 2018, arXiv:1802.01561)."""

    asynchronous = True
    settings: IMPALA
    learner = ImpalaLearner

    def __init__(self) -> None:
        super().__init__(algo_class=ImpalaAlgorithm)
        self.env_runner_cls = AsynchronousEnvRunner
        self.max_requests_in_flight_per_env_runner = 1
        self.max_requests_in_flight_per_learner = BATCHES_AT_LEARNERS
        self.use(IMPALA())

    def use(self, settings: IMPALA) -> Self:
        """Hold the settings; passes and minibatches are RLlib's too."""
        super().use(settings)
        self.training(num_epochs=settings.num_epochs, minibatch_size=settings.minibatch_size)
        self.env_runners(rollout_fragment_length=settings.num_steps)
        return self

    @property
    def estimate(self) -> Estimate:
        """What V-trace's are where weights are the newest."""
        return Estimate(gae_lambda=self.settings.gae_lambda, standardise=self.clip_param is not None)

    @property
    def clip_param(self) -> float | None:
        """How far ratios may go from one, if that is bounded."""
        return self.settings.clip_param

    def batch_steps(self, num_envs: int, network: PolicyConfig) -> int:
        """A fragment of every environment, or of as many as the settings say."""
        return self.settings.num_steps * (self.settings.envs_per_batch or num_envs)

    @property
    def fragments_per_batch(self) -> int:
        """Of env runners in processes of their own."""
        envs, of_each = self.settings.envs_per_batch, self.num_envs_per_env_runner
        return self.num_env_runners if envs is None else envs // of_each

    def check(self, environment: Environment, network: PolicyConfig, spaces: tuple[gym.Space, gym.Space]) -> None:
        """Fragments of a policy that carries a state are whole sequences; several passes need a bound; what several
        learners cannot share is refused, and so are weights that env runners change."""
        settings = self.settings
        check_sequences(settings.num_steps, network)
        if settings.max_lag <= BATCHES_AT_LEARNERS:
            problem = (
                f"max_lag {settings.max_lag} leaves no time to sample: {BATCHES_AT_LEARNERS} batches are at learners"
            )
            raise UserError(problem, f"set it to {BATCHES_AT_LEARNERS + 1} at least")
        passes = settings.num_epochs > 1 or settings.minibatch_size is not None
        if passes and settings.clip_param is None:
            raise UserError(
                "several steps on one batch need a bound on how far they go", "set clip_param=0.2, or num_epochs=1"
            )
        if isinstance(network, SpikingPolicy) and network.plastic is not None:
            problem = "IMPALA's env runners change no weights, and plastic layers ask for that"
            raise UserError(problem, "take ppo or a2c, or set spiking.plastic=null")
        envs, of_each = settings.envs_per_batch or environment.num_envs, self.num_envs_per_env_runner
        if envs > environment.num_envs or (envs % of_each if self.num_env_runners else of_each % envs):
            problem = f"batches of {envs} environments are not made of the {of_each} of each env runner"
            raise UserError(problem, "set envs_per_batch to a multiple of them, or leave it out")
        if self.num_learners and self.fragments_per_batch % self.num_learners:
            problem = f"{self.num_learners} learners cannot share batches of {self.fragments_per_batch} fragments"
            raise UserError(problem, "set --num-workers, or envs_per_batch, so that they can")
        if self.num_learners > 1 and environment.normalise_rewards:
            problem = f"{self.num_learners} learners see different rewards, and normalise_rewards needs all of them"
            raise UserError(problem, "set normalise_rewards=false and reward_scale, or --num-learners 1")
