"""Families of tasks: from settings to a distribution, the network that suits it and the learner that adapts to it.

A new family is a class here and a line of :data:`_FAMILIES`; nothing else asks which one it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import nn

from synrl_ray.data.omniglot import load_omniglot, set_at_hand
from synrl_ray.envs.gridworld import NUM_ACTIONS
from synrl_ray.envs.gridworld_tables import GridworldRewards
from synrl_ray.errors import UserError
from synrl_ray.meta.action_heads import GaussianHead, MeanAndDeviation, head_of
from synrl_ray.meta.classification import FewShotClassification
from synrl_ray.meta.environment_tasks import EnvironmentDistribution
from synrl_ray.meta.gridworld_batch import PlayedGridworlds
from synrl_ray.meta.gridworld_layouts import LayoutDistribution
from synrl_ray.meta.gridworlds import GridworldDistribution
from synrl_ray.meta.maml import MamlModel
from synrl_ray.meta.maml_rl import MamlPolicy
from synrl_ray.meta.maml_trajectories import TrajectoryPolicy
from synrl_ray.meta.meta_learner import MetaLearner
from synrl_ray.meta.networks import conv4, mlp, spiking_conv4, spiking_mlp
from synrl_ray.meta.sinusoids import INPUTS, SinusoidDistribution
from synrl_ray.meta.sizes import numbers_per_task, require_bounded, samples_at_once
from synrl_ray.meta.tasks import Split, TaskDistribution
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import (
    AnnLearner,
    AnyTasks,
    EnvironmentTasks,
    GridworldTasks,
    Learner,
    OmniglotTasks,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.snn import Surrogate
from synrl_ray.snn.encoders import PopulationCode

T = TypeVar("T", bound=AnyTasks)
_PIXELS = 28 * 28
"""Of Omniglot's images."""


class Family(ABC, Generic[T]):
    """What is known of a family of tasks.

    Args:
        settings: which of its distributions.
    """

    inner_loop: ClassVar[type[Maml | MamlRl]] = Maml
    """Settings of the inner loop that learns them."""
    learner_name: ClassVar[str] = "learner"
    """What adapts to them, in a word."""
    has_shots: ClassVar[bool] = True
    """Whether a task is given by a number of samples."""
    feature_range: ClassVar[tuple[float, float] | None] = None
    """That of every feature, where they are numbers on a scale, which populations of neurons can code."""

    def __init__(self, settings: T) -> None:
        self.settings = settings

    @property
    def data(self) -> str:
        """What a result was measured on, by name."""
        return self.settings.name

    @property
    @abstractmethod
    def size(self) -> str:
        """A task's size in the field's words."""

    @abstractmethod
    def distribution(self) -> TaskDistribution | PlayedGridworlds | EnvironmentDistribution:
        """Where tasks are drawn from.

        Raises:
            UserError: for missing data, more classes or drawings than they have, or a gridworld that cannot be.
        """

    @abstractmethod
    def numbers_per_task(self, maml: Any) -> int:
        """How many numbers a computation holds for one task."""

    def identities(self, split: Split, num_tasks: int) -> list[Any]:
        """What is the same for equal ones of the first tasks of a split, and for no others: here their seeds, since
        each draws numbers of its own."""
        return list(range(num_tasks))

    def require_told_apart(self, split: Split, num_tasks: int) -> None:
        """Refuse a split whose first tasks do not differ.

        Raises:
            UserError: for it, with the number of those that do.
        """

    def with_data(self, named: str | None = None) -> T:
        """The settings with the data set that they read written down: theirs, the named one, or the one at hand."""
        return self.settings

    def network(self, learner: Learner) -> nn.Module:
        """The network that adapts to each task; torch's seed makes its weights.

        Raises:
            UserError: for a population of neurons where the features are not numbers on a scale.
        """
        if learner.population and self.feature_range is None:
            problem = f"a population codes the input of sinusoids, not that of {self.settings.name}"
            raise UserError(problem, f"set {learner.kind}.population=null")
        return self._network(learner)

    @abstractmethod
    def _network(self, learner: Learner) -> nn.Module: ...

    def meta_learner(self, learner: Learner, config: Maml | MamlRl) -> MetaLearner:
        """A learner with its inner loop; torch's seed makes its weights.

        Raises:
            UserError: if tasks and inner loop are not for one another, or the network has nothing to adapt.
        """
        if not isinstance(config, self.inner_loop):
            wanted = {Maml: "maml", MamlRl: "maml-rl"}[self.inner_loop]
            problem = f"tasks {self.settings.name!r} are not for this algorithm"
            raise UserError(problem, f"they are learned by {wanted!r}")
        return self._meta_learner(self.network(learner), config)

    def _meta_learner(self, network: nn.Module, config: Any) -> MetaLearner:
        return MamlModel(network, config)

    def untrained(self, learner: Learner, config: Maml | MamlRl) -> MetaLearner:
        """The same learner as it was made, for comparison; always with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.meta_learner(learner, config)

    def require_room(self, maml: MetaLearner) -> None:
        """Refuse a learner that would take too much memory to judge on such tasks.

        Raises:
            UserError: for it.
        """
        require_bounded(self.numbers_per_task(maml))


class _Sinusoids(Family[SinusoidTasks]):
    feature_range = INPUTS

    @property
    def size(self) -> str:
        return f"{self.settings.shots} samples"

    def distribution(self) -> SinusoidDistribution:
        return SinusoidDistribution(shots=self.settings.shots, query_shots=self.settings.queries)

    def numbers_per_task(self, maml: Any) -> int:
        return numbers_per_task(maml.model, max(self.settings.shots, self.settings.queries))

    def _network(self, learner: Learner) -> nn.Module:
        return _vector_network(learner, 1, 1, self.feature_range)


class _Omniglot(Family[OmniglotTasks]):
    @property
    def data(self) -> str:
        return load_omniglot(self.settings.data).name

    @property
    def size(self) -> str:
        return f"{self.settings.ways}-way {self.settings.shots}-shot"

    def distribution(self) -> FewShotClassification:
        tasks, images = self.settings, load_omniglot(self.settings.data).images
        return FewShotClassification(images, tasks.ways, tasks.shots, tasks.queries, rotations=tasks.rotations)

    def numbers_per_task(self, maml: Any) -> int:
        tasks = self.settings
        num_samples = tasks.ways * samples_at_once(maml.by_support, tasks.shots, tasks.queries)
        return numbers_per_task(maml.model, num_samples, pixels=_PIXELS)

    def with_data(self, named: str | None = None) -> OmniglotTasks:
        return replace(self.settings, data=cast(Any, self.settings.data or named or set_at_hand()))

    def _network(self, learner: Learner) -> nn.Module:
        if isinstance(learner, AnnLearner):
            return conv4(ways=self.settings.ways, channels=learner.channels)
        return spiking_conv4(ways=self.settings.ways, channels=learner.channels, **_neurons(learner))


class _Gridworlds(Family[GridworldTasks]):
    inner_loop = MamlRl
    learner_name = "policy"
    has_shots = False

    @property
    def size(self) -> str:
        tasks = self.settings
        most = "at most " if tasks.vary == "layout" else ""
        return f"{most}{tasks.rows} x {tasks.columns} cells, {tasks.num_obstacles} obstacles, {tasks.reward} reward"

    def distribution(self) -> PlayedGridworlds:
        return PlayedGridworlds(self._grids())

    def identities(self, split: Split, num_tasks: int) -> list[Any]:
        grids = self._grids().sample(split, range(num_tasks))
        return [
            (free.numpy().tobytes(), int(goal), start.numpy().tobytes())
            for free, goal, start in zip(grids.free, grids.goals, grids.initial, strict=True)
        ]

    def numbers_per_task(self, maml: Any) -> int:
        tasks = self.settings
        env_steps = maml.config.episodes * tasks.horizon
        return numbers_per_task(maml.model, tasks.rows * tasks.columns, env_steps=env_steps)

    def _network(self, learner: Learner) -> nn.Module:
        return _vector_network(learner, self._grids().sample("train", [0]).num_features, NUM_ACTIONS)

    def _meta_learner(self, network: nn.Module, config: Any) -> MamlPolicy:
        return MamlPolicy(network, config, self.settings.discount)

    def _grids(self) -> GridworldDistribution | LayoutDistribution:
        tasks = self.settings
        shaping = {"shaping_scale": tasks.shaping_scale, "shaping_discount": tasks.discount}
        shared: dict[str, Any] = {
            "rows": tasks.rows,
            "columns": tasks.columns,
            "num_obstacles": tasks.num_obstacles,
            "horizon": tasks.horizon,
            "rewards": GridworldRewards(**(shaping if tasks.reward == "shaped" else {})),
            "observation": tasks.observation,
            "show_obstacles": tasks.show_obstacles,
        }
        if tasks.vary == "layout":
            return LayoutDistribution(**shared)
        start = (tasks.rows // 2, tasks.columns // 2) if tasks.start == "centre" else tasks.start
        return GridworldDistribution(**shared, shared_obstacles=tasks.shared_obstacles, start=start)


class _Environments(Family[EnvironmentTasks]):
    inner_loop = MamlRl
    learner_name = "policy"
    has_shots = False

    def __init__(self, settings: EnvironmentTasks) -> None:
        super().__init__(settings)
        self.feature_range = (-1.0, 1.0) if settings.observation_scale else None  # type: ignore[misc]

    @property
    def data(self) -> str:
        return self.settings.id

    @property
    def size(self) -> str:
        tasks = self.settings
        return f"{tasks.sampler or ', '.join(sorted(tasks.parameters))} differ, {tasks.horizon} environment steps"

    @cached_property
    def _tasks(self) -> EnvironmentDistribution:
        return EnvironmentDistribution(self.settings)

    def distribution(self) -> EnvironmentDistribution:
        return self._tasks

    def identities(self, split: Split, num_tasks: int) -> list[Any]:
        return self._tasks.identities(split, range(num_tasks))

    def require_told_apart(self, split: Split, num_tasks: int) -> None:
        self._tasks.require_told_apart(split, num_tasks)

    def numbers_per_task(self, maml: Any) -> int:
        decisions = maml.config.episodes * self.settings.horizon
        baseline = 6 * (2 * self._tasks.num_features + 4) ** 2  # of its normal equations, in double precision
        return numbers_per_task(maml.model, decisions, env_steps=decisions) + baseline

    def _network(self, learner: Learner) -> nn.Module:
        head = head_of(self._tasks.action_space, self.settings.id)
        network = _vector_network(learner, self._tasks.num_features, head.num_outputs, self.feature_range)
        if isinstance(head, GaussianHead):
            network[-1] = MeanAndDeviation(learner.hidden_sizes[-1], head.num_outputs, learner.deviation)
        return network

    def _meta_learner(self, network: nn.Module, config: Any) -> TrajectoryPolicy:
        head = head_of(self._tasks.action_space, self.settings.id)
        return TrajectoryPolicy(network, config, self.settings.discount, head)


_FAMILIES: dict[type, type[Family[Any]]] = {
    SinusoidTasks: _Sinusoids,
    OmniglotTasks: _Omniglot,
    GridworldTasks: _Gridworlds,
    EnvironmentTasks: _Environments,
}


def family_of(settings: AnyTasks) -> Family[Any]:
    """The family that such tasks are of."""
    return _FAMILIES[type(settings)](settings)


def _vector_network(
    learner: Learner, in_features: int, out_features: int, value_range: tuple[float, float] | None = None
) -> nn.Sequential:
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
