"""Whether a run can work, said before Ray is started."""

from __future__ import annotations

import torch

from synrl_ray.envs.checked import require_working
from synrl_ray.envs.make import make_environment
from synrl_ray.experiment import Experiment
from synrl_ray.kinds.acting import factory_of
from synrl_ray.kinds.rllib_trainer import check_shares
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.layers import require_bounded
from synrl_ray.policies.spaces import check_spaces
from synrl_ray.running.spec import RunSpec


def check(spec: RunSpec) -> None:
    """Raise :class:`UserError` if the environment cannot be made, the policy cannot serve its spaces, or it fails at
    once."""
    from synrl_ray.algorithms.build import check_algorithm  # imports Ray, which judging does without

    experiment = spec.experiment_as(Experiment)
    environment = experiment.environment
    env = make_environment(environment.id, environment.kwargs, environment.preprocessing)
    spaces = (env.observation_space, env.action_space)
    env.close()
    check_spaces(*spaces, environment.id, experiment.policy(spec.policy))
    check_shares(environment, spec.num_workers)
    check_algorithm(experiment, spec.policy, spaces, spec.num_workers, spec.num_learners)
    config = experiment.policy(spec.policy)
    if getattr(config, "network", None) is None:  # one of the user's own need not be able to be made without numbers
        with torch.device("meta"):
            require_bounded(ActorCritic(*spaces, config).numbers_per_observation)
    require_working(factory_of(environment))
