"""From a local experiment's settings to an RLlib configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from synrl_ray.algorithms.build import at_scale
from synrl_ray.algorithms.plastic import PlasticConfig
from synrl_ray.envs.make import make_environment
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.errors import UserError
from synrl_ray.policies.layers import require_bounded
from synrl_ray.policies.local.policy import load_local_policy
from synrl_ray.policies.local.table import agent_class, make_agent
from synrl_ray.sampling.tabular import TabularEnvRunner
from synrl_ray.settings.local import LocalExperiment


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
    config = PlasticConfig().on(environment)
    config.rule(experiment.algorithm, seed=seed, **_given(experiment))
    if has_table:
        config.env_runner_cls = TabularEnvRunner
    config.merge = experiment.merge
    config.learners(num_learners=0)
    fragment = -(-experiment.steps_per_iteration // environment.num_envs)
    config.training(train_batch_size_per_learner=fragment * environment.num_envs)
    return at_scale(config, environment, seed=seed, num_workers=num_workers)


def check_agent(experiment: LocalExperiment) -> None:
    """Raise :class:`UserError` if the environment cannot be made, or does not suit the agent."""
    environment, settings = experiment.environment, experiment.algorithm
    env = make_environment(environment.id, environment.kwargs)
    try:
        agent = make_agent(env.observation_space, env.action_space, settings=settings, **_given(experiment))
        require_bounded(agent.numbers_per_observation)
    finally:
        env.close()
    if agent_class(settings).needs_table:
        TransitionTable.from_id(environment.id, environment.kwargs)


def _given(experiment: LocalExperiment) -> dict[str, Any]:
    """What an agent starts from beside its settings."""
    return {"teacher_actions": _teacher_actions(experiment), "weights": _initial_weights(experiment)}


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
    if not agent_class(settings).is_taught(settings):
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
