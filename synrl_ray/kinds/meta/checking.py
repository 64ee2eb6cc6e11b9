"""Whether a run can work, said before Ray is started."""

from __future__ import annotations

from synrl_ray.experiment import MetaExperiment
from synrl_ray.meta.families import family_of
from synrl_ray.running.spec import RunSpec


def check(spec: RunSpec) -> None:
    """Raise :class:`UserError` for missing data, or a learner that does not fit the tasks, or is too large for them."""
    from synrl_ray.meta.trainable import require_seed  # imports Ray, which judging does without

    experiment = spec.experiment_as(MetaExperiment)
    require_seed(spec.seed)
    family = family_of(experiment.tasks)
    family.distribution()
    family.require_told_apart("test", experiment.evaluation.tasks)
    family.require_room(family.meta_learner(experiment.learner(spec.policy), experiment.algorithm.maml))
