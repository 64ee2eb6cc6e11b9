"""From an experiment's settings to an RLlib configuration."""

from __future__ import annotations

from typing import TypeVar

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from synrl_ray.algorithms.config import GradientConfig
from synrl_ray.algorithms.table import CONFIGS
from synrl_ray.errors import UserError
from synrl_ray.settings.control import Experiment
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.policy_kinds import PolicyKind

Config = TypeVar("Config", bound=AlgorithmConfig)


def algorithm_config(
    experiment: Experiment, policy: PolicyKind, *, seed: int, num_workers: int, num_learners: int = 0
) -> GradientConfig:
    """The configuration of one run.

    Args:
        experiment: what to train.
        policy: which of its policies.
        seed: of networks, environments and action sampling.
        num_workers: env runners in processes of their own; 0 samples in the driver. The environments are divided
            among them: scale does not change the hyperparameters.
        num_learners: learners in processes of their own, which share each minibatch; 0 learns in the driver.

    Raises:
        UserError: if the train batch does not divide among the learners.
    """
    environment, settings, network = experiment.environment, experiment.algorithm, experiment.policy(policy)
    config = CONFIGS[type(settings)]().use(settings).on(environment)
    config.learners(num_learners=num_learners, num_cpus_per_learner=1)
    horizon = experiment.stopping.schedule_steps or experiment.stopping.env_steps
    config.training(
        lr=[[0, settings.lr], [horizon, 0.0]] if settings.lr_decay else settings.lr,
        gamma=settings.gamma,
        grad_clip=settings.grad_clip,
        train_batch_size_per_learner=_share(config.batch_steps(environment.num_envs, network), num_learners),
    )
    return at_scale(config.serve(network), environment, seed=seed, num_workers=num_workers)


def check_algorithm(
    experiment: Experiment, policy: PolicyKind, spaces: tuple[gym.Space, gym.Space], num_workers: int, num_learners: int
) -> None:
    """Raise :class:`UserError` if the algorithm cannot train that policy.

    Args:
        experiment, policy, num_workers, num_learners: as for :func:`algorithm_config`.
        spaces: of observations and actions of a single environment.
    """
    config = algorithm_config(experiment, policy, seed=0, num_workers=num_workers, num_learners=num_learners)
    config.check(experiment.environment, experiment.policy(policy), spaces)


def at_scale(config: Config, environment: Environment, *, seed: int, num_workers: int) -> Config:
    """A configuration with its environments divided among env runners, and with its seed."""
    config.env_runners(num_env_runners=num_workers, num_envs_per_env_runner=environment.num_envs // max(1, num_workers))
    config.debugging(seed=seed, log_level="ERROR")
    # An error in an env runner is the user's to see, not RLlib's to retry without end; Faults tells it from a death.
    config.fault_tolerance(restart_failed_env_runners=getattr(config, "restarts_runners", True))
    return config


def _share(train_batch_size: int, num_learners: int) -> int:
    share, rest = divmod(train_batch_size, max(1, num_learners))
    if rest:
        raise UserError(
            f"a batch of {train_batch_size} steps cannot be shared by {num_learners} learners",
            "choose another --num-learners or batch size",
        )
    return share
