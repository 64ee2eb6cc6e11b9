"""Whether a run can work, said before Ray is started."""

from __future__ import annotations

from synrl_ray.data.mnist import load_mnist
from synrl_ray.errors import UserError
from synrl_ray.experiment import ClassificationExperiment
from synrl_ray.policies.images import behind_convolutions
from synrl_ray.policies.layers import numbers_per_observation, require_bounded
from synrl_ray.running.spec import RunSpec
from synrl_ray.supervised.model import Classifier


def check(spec: RunSpec) -> None:
    """Raise :class:`UserError` for missing data, or layers that do not fit the images."""
    experiment = spec.experiment_as(ClassificationExperiment)
    if spec.num_workers:
        raise UserError("--num-workers means nothing for a classifier", "leave it out")
    config = experiment.policy(spec.policy)
    if config.architecture == "conv" and len(config.hidden_sizes) != 1:
        raise behind_convolutions(config)
    try:
        model = Classifier(config, experiment.data.classes)
    except ValueError as error:
        raise UserError(f"{error}: the images have 28 x 28 pixels", f"give {config.kind}.channels fewer") from error
    require_bounded(numbers_per_observation(model.network))
    load_mnist(experiment.data.classes)
