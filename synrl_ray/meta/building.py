"""From settings to tasks, networks and meta-learners."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from synrl_ray.data.omniglot import load_omniglot
from synrl_ray.envs.gridworld import NUM_ACTIONS
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.errors import UserError
from synrl_ray.meta.classification import FewShotClassification
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.networks import conv4, mlp, spiking_conv4, spiking_mlp
from synrl_ray.meta.sinusoids import INPUTS, SinusoidDistribution
from synrl_ray.meta.sizes import numbers_per_task, require_bounded
from synrl_ray.meta.tasks import TaskDistribution
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import (
    AnnLearner,
    AnyTasks,
    GridworldTasks,
    Learner,
    OmniglotTasks,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.snn import Surrogate
from synrl_ray.snn.encoders import PopulationCode

_PIXELS = 28 * 28
"""Of Omniglot's images."""


def make_tasks(settings: AnyTasks) -> TaskDistribution | PlayedGridworlds:
    """The distribution of tasks.

    Raises:
        UserError: for missing data, more classes or drawings than they have, or a gridworld that cannot be.
    """
    if isinstance(settings, GridworldTasks):
        return PlayedGridworlds(gridworld_distribution(settings))
    if isinstance(settings, SinusoidTasks):
        return SinusoidDistribution(shots=settings.shots, query_shots=settings.queries)
    images = load_omniglot(settings.data).images
    return FewShotClassification(images, settings.ways, settings.shots, settings.queries, rotations=settings.rotations)


def gridworld_distribution(settings: GridworldTasks) -> GridworldDistribution:
    """The gridworlds of these settings.

    Raises:
        UserError: as :class:`~synrl_ray.meta.gridworlds.GridworldDistribution`.
    """
    shaping = {"shaping_scale": settings.shaping_scale, "shaping_discount": settings.discount}
    start = (settings.rows // 2, settings.columns // 2) if settings.start == "centre" else settings.start
    return GridworldDistribution(
        rows=settings.rows,
        columns=settings.columns,
        num_obstacles=settings.num_obstacles,
        shared_obstacles=settings.shared_obstacles,
        start=start,
        horizon=settings.horizon,
        rewards=GridworldRewards(**(shaping if settings.reward == "shaped" else {})),
        observation=settings.observation,
        show_obstacles=settings.show_obstacles,
    )


def make_learner(learner: Learner, tasks: AnyTasks) -> nn.Module:
    """The network that adapts to each task; torch's seed makes its weights.

    Raises:
        UserError: for a population of neurons where the tasks' features are not numbers on a scale.
    """
    if learner.population and not isinstance(tasks, SinusoidTasks):
        problem = f"a population codes the input of sinusoids, not that of {tasks.name}"
        raise UserError(problem, f"set {learner.kind}.population=null")
    if isinstance(tasks, GridworldTasks):
        features = gridworld_distribution(tasks).sample("train", [0]).num_features
        return _vector_network(learner, features, NUM_ACTIONS)
    if isinstance(tasks, SinusoidTasks):
        return _vector_network(learner, 1, 1, INPUTS)
    if isinstance(learner, AnnLearner):
        return conv4(ways=tasks.ways, channels=learner.channels)
    return spiking_conv4(ways=tasks.ways, channels=learner.channels, **_neurons(learner))


def make_maml(learner: Learner, tasks: AnyTasks, config: Maml | MamlRl) -> MamlModel | MamlPolicy:
    """A learner with its inner loop; torch's seed makes its weights.

    Raises:
        UserError: if tasks and inner loop are not for one another, or the network has nothing to adapt.
    """
    if isinstance(tasks, GridworldTasks):
        if isinstance(config, MamlRl):
            return MamlPolicy(make_learner(learner, tasks), config, tasks.discount)
    elif isinstance(config, Maml):
        return MamlModel(make_learner(learner, tasks), config)
    wanted = "maml-rl" if isinstance(config, Maml) else "maml"
    raise UserError(f"tasks {tasks.name!r} are not for this algorithm", f"they are learned by {wanted!r}")


def require_room(maml: MamlModel | MamlPolicy, tasks: AnyTasks) -> None:
    """Refuse a learner, and tasks for it, that would take too much memory to judge.

    Raises:
        UserError: for those.
    """
    if isinstance(tasks, GridworldTasks):
        env_steps = maml.config.episodes * tasks.horizon if isinstance(maml, MamlPolicy) else 0
        numbers = numbers_per_task(maml.model, tasks.rows * tasks.columns, env_steps=env_steps)
    else:
        num_samples = max(tasks.shots, tasks.queries)
        if isinstance(tasks, OmniglotTasks):
            numbers = numbers_per_task(maml.model, num_samples * tasks.ways, pixels=_PIXELS)
        else:
            numbers = numbers_per_task(maml.model, num_samples)
    require_bounded(numbers)


def untrained(maml: MamlModel | MamlPolicy, learner: Learner, tasks: AnyTasks) -> MamlModel | MamlPolicy:
    """The same learner as it was made, for comparison; always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_maml(learner, tasks, maml.config)


def data_of(settings: AnyTasks) -> str:
    """What a result was measured on, by name."""
    if isinstance(settings, GridworldTasks | SinusoidTasks):
        return settings.name
    return load_omniglot(settings.data).name


def _vector_network(
    learner: Learner, in_features: int, out_features: int, value_range: tuple[float, float] | None = None
) -> nn.Module:
    """``value_range`` is that of every feature, where they are numbers on a scale."""
    sizes: dict[str, Any] = {
        "in_features": in_features,
        "hidden_sizes": learner.hidden_sizes,
        "out_features": out_features,
    }
    if learner.population and value_range:
        sizes["code"] = PopulationCode(*value_range, learner.population)
    return mlp(**sizes) if isinstance(learner, AnnLearner) else spiking_mlp(**sizes, **_neurons(learner))


def _neurons(learner: SpikingLearner) -> dict[str, Any]:
    surrogate = Surrogate(learner.surrogate, learner.surrogate_slope)
    return {"num_steps": learner.steps_per_sample, "beta": learner.beta, "surrogate": surrogate}
