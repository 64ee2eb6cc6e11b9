"""Whether a run can work, said before Ray is started."""

from __future__ import annotations

from synrl_ray.envs.checked import require_working
from synrl_ray.errors import UserError
from synrl_ray.experiment import LocalExperiment
from synrl_ray.kinds.acting import factory_of
from synrl_ray.kinds.rllib_trainer import check_shares
from synrl_ray.running.spec import RunSpec


def check(spec: RunSpec) -> None:
    """Raise :class:`UserError` if the environment cannot be made or fails at once, or the agent cannot learn in it."""
    from synrl_ray.algorithms.local import check_agent  # imports Ray, which judging does without

    experiment = spec.experiment_as(LocalExperiment)
    environment = experiment.environment
    for name in ("preprocessing", "reward_scale", "normalise_rewards"):
        if getattr(environment, name) not in (None, 1.0, False):
            raise UserError(f"{name} means nothing for {experiment.algorithm.name}", "leave it out")
    check_agent(experiment)
    require_working(factory_of(environment))
    check_shares(environment, spec.num_workers)
