"""Whether a run can work, said before Ray is started."""

from __future__ import annotations

from contextlib import closing

from synrl_ray.envs.checked import require_working
from synrl_ray.envs.make import make_environment
from synrl_ray.errors import UserError
from synrl_ray.experiment import EvolutionExperiment
from synrl_ray.kinds.acting import factory_of
from synrl_ray.kinds.evolution.judging import held_out_environment
from synrl_ray.policies.hebbian.layout import HebbianLayout
from synrl_ray.policies.layers import require_bounded
from synrl_ray.running.spec import RunSpec


def check(spec: RunSpec) -> None:
    """Raise :class:`UserError` if an environment cannot be made or fails at once, or the network cannot serve it."""
    experiment = spec.experiment_as(EvolutionExperiment)
    environment = experiment.environment
    for name, usual in (("reward_scale", 1.0), ("normalise_rewards", False)):
        if getattr(environment, name) != usual:
            raise UserError(f"{name} means nothing for ranks of returns", "leave it out")
    with closing(make_environment(environment.id, environment.kwargs, environment.preprocessing)) as env:
        layout = HebbianLayout(env.observation_space, env.action_space, experiment.policy(spec.policy), environment.id)
        require_bounded(layout.numbers_per_observation)
        spaces = env.observation_space, env.action_space
    require_working(factory_of(environment))
    held_out = held_out_environment(environment, experiment.held_out)
    if held_out is not None:
        with closing(factory_of(held_out)()) as env:
            for name, space, other in zip(
                ("observations", "actions"), spaces, (env.observation_space, env.action_space), strict=True
            ):
                if other != space:
                    raise UserError(f"held_out makes an environment of other {name}", "let both have the same spaces")
        require_working(factory_of(held_out))
