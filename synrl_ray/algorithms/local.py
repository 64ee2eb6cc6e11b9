"""From a local experiment's settings to an RLlib configuration."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import LocalExperiment, RStdp
from synrl_ray.policies.local.policy import load_local_policy
from synrl_ray.policies.local.table import make_agent
from synrl_ray.rl_modules.local import LocalModule
from synrl_ray.sampling.plastic import PlasticEnvRunner
from synrl_ray.sampling.q_learning import QLearningEnvRunner
from synrl_ray.sampling.tabular import TabularEnvRunner
from synrl_ray.settings.q_learning import QLearning


def local_config(experiment: LocalExperiment, *, seed: int, num_workers: int, has_table: bool) -> PlasticConfig:
    """The configuration of one run.

    Args:
        experiment: what to train.
        seed: of initial weights, environments and exploration.
        num_workers: env runners in processes of their own, among which the environments are divided; 0 samples in
            the driver.
        has_table: whether the environment has a transition table, so that all its copies step at once.
    """
    environment = experiment.environment
    config = PlasticConfig()
    config.env_runner_cls = _runner(experiment, has_table)
    config.merge = experiment.merge
    config.max_failure_share = environment.max_failure_share
    config.environment(environment.id, env_config=dict(environment.kwargs))
    config.env_runners(num_env_runners=num_workers, num_envs_per_env_runner=environment.num_envs // max(1, num_workers))
    config.learners(num_learners=0)
    fragment = -(-experiment.steps_per_iteration // environment.num_envs)
    config.training(train_batch_size_per_learner=fragment * environment.num_envs)
    make = partial(
        make_agent,
        settings=experiment.algorithm,
        seed=seed,
        teacher_actions=_teacher_actions(experiment),
        weights=_initial_weights(experiment),
    )
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=LocalModule, model_config={"make": make}))
    config.debugging(seed=seed, log_level="ERROR")
    config.fault_tolerance(restart_failed_env_runners=True)  # see synrl_ray.algorithms.build
    return config


def check_agent(experiment: LocalExperiment) -> None:
    """Raise :class:`UserError` if the environment cannot be made, or its spaces do not suit the agent."""
    environment = experiment.environment
    env = make_environment(environment.id, environment.kwargs)
    try:
        spaces = (env.observation_space, env.action_space)
        weights = _initial_weights(experiment)
        make_agent(
            *spaces, settings=experiment.algorithm, teacher_actions=_teacher_actions(experiment), weights=weights
        )
    finally:
        env.close()


def _runner(experiment: LocalExperiment, has_table: bool) -> type[PlasticEnvRunner]:
    if isinstance(experiment.algorithm, QLearning):
        return QLearningEnvRunner
    return TabularEnvRunner if has_table else PlasticEnvRunner


def _initial_weights(experiment: LocalExperiment) -> dict[str, Tensor] | None:
    """Those of the policy to start from; ``None`` for new ones."""
    folder, settings = experiment.initial_policy, experiment.algorithm
    if folder is None:
        return None
    policy = load_local_policy(folder)
    if policy.settings.name != settings.name:
        raise UserError(
            f"the policy in {folder} was trained by {policy.settings.name}, not {settings.name}", "name another one"
        )
    return dict(policy.agent.state_dict())


def _teacher_actions(experiment: LocalExperiment) -> np.ndarray | None:
    """The right actions, from an environment that knows them; ``None`` where nobody is taught."""
    settings, environment = experiment.algorithm, experiment.environment
    if not (isinstance(settings, RStdp) and settings.teach):
        return None
    env = make_environment(environment.id, environment.kwargs)
    try:
        core: Any = env.unwrapped
        if not hasattr(core, "optimal_actions"):
            raise UserError(f"environment {environment.id!r} has no teacher", "take teach=false, or a maze")
        actions: np.ndarray = core.optimal_actions()
        return actions
    finally:
        env.close()
