"""What is meta-learned, by which network and with which outer loop: plain data (no torch import)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MaxLen, MinLen
from pydantic import Discriminator

from synrl_ray.settings.base import BaseExperiment, BaseTarget
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.environment import Environment
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.policies import LeakyNeurons, Surrogate
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.q_learning import QLearning
from synrl_ray.settings.search import Range
from synrl_ray.settings.types import (
    AsTuple,
    Cells,
    ClassPath,
    Count,
    Fraction,
    InnerSteps,
    JsonMapping,
    Natural,
    NonNegative,
    NumTasks,
    Positive,
    Rate,
    Samples,
    Size,
    Sizes,
    Steps,
)

Population = Annotated[Steps, Ge(2)] | None


class AnyFamily:
    """What the settings of every family of tasks tell."""

    @property
    def environment(self) -> Environment | None:
        """The environment that its tasks are set in, if that may be anyone's."""
        return None

    @property
    def own_modules(self) -> tuple[str, ...]:
        """What else they ask to import."""
        return ()


@settings_class
class SinusoidTasks(AnyFamily):
    """Regression of sinusoids; see :class:`synrl_ray.meta.sinusoids.SinusoidDistribution`."""

    name: Literal["sinusoids"] = "sinusoids"
    shots: Samples = 10
    """Samples of a support set."""
    queries: Samples = 10
    """Samples of a query set."""


@settings_class
class OmniglotTasks(AnyFamily):
    """Few-shot classification of characters; see :class:`synrl_ray.meta.classification.FewShotClassification`."""

    name: Literal["omniglot"] = "omniglot"
    ways: Annotated[int, Interval(ge=2, le=1_000)] = 5
    """Classes of a task."""
    shots: Samples = 1
    """Support images of each class."""
    queries: Samples = 15
    """Query images of each class."""
    rotations: bool = True
    """Whether turned characters are classes of their own."""
    data: Literal["omniglot", "omniglot-small", "omniglot-background"] | None = None
    """Which set; ``None`` for the one that is at hand."""


@settings_class
class GridworldTasks(AnyFamily):
    """Finding goals by their reward; see :class:`synrl_ray.meta.gridworlds.GridworldDistribution` and, where layouts
    vary, :class:`synrl_ray.meta.gridworld_layouts.LayoutDistribution`."""

    name: Literal["gridworlds"] = "gridworlds"
    vary: Literal["goal", "layout"] = "goal"
    """What differs between tasks: the goal, and the obstacles where they are not shared; or size, obstacles, start and
    goal, with thousands of distinct tasks. Rows, columns and obstacles are then the most of a task."""
    rows: Cells = 7
    """Cells from top to bottom."""
    columns: Cells = 7
    """Cells from left to right."""
    num_obstacles: Natural = 0
    """Of each grid."""
    shared_obstacles: bool = False
    """Whether all tasks have the same ones."""
    start: Annotated[tuple[int, int], AsTuple] | Literal["centre"] | None = "centre"
    """Row and column of the first cell; ``None`` for any free one."""
    horizon: Annotated[int, Interval(ge=1, le=100_000)] = 20
    """Environment steps of an episode."""
    discount: Rate = 0.95
    """Of the returns that agents learn from, and of the shaping; regret is without it."""
    reward: Literal["shaped", "sparse"] = "shaped"
    """Whether moves towards the goal are paid in addition to reaching it, which leaves best policies as they are."""
    shaping_scale: Positive = 5.0
    """Moves towards the goal that are worth as much as reaching it, where rewards are shaped."""
    observation: Literal["one_hot", "coordinates"] = "one_hot"
    """What is seen of the agent's cell; the goal is never seen."""
    show_obstacles: bool = False
    """Whether the map of obstacles is seen as well."""


@settings_class
class EnvironmentTasks(AnyFamily):
    """Tasks of any Gymnasium environment, which differ in what is set in it; see
    :class:`synrl_ray.meta.environment_tasks.EnvironmentDistribution`."""

    name: Literal["environment"] = "environment"
    id: Annotated[str, MaxLen(200)]
    """Registered id, as ``gymnasium.make`` takes it (``module:Id`` imports the module first)."""
    kwargs: JsonMapping = field(default_factory=dict)
    """Keyword arguments of ``gymnasium.make`` that all tasks share."""
    parameters: Mapping[str, Range] = field(default_factory=dict)
    """What differs between tasks, and the range that each task draws it from: a keyword argument of the environment, an
    attribute of it, or an option of its ``reset`` (``options.goal``)."""
    sampler: ClassPath | None = None
    """``module:Class`` of one's own distribution instead: ``Class().sample(seed)`` gives such names and values."""
    horizon: Annotated[int, Interval(ge=1, le=100_000)] = 100
    """Environment steps after which an episode ends, if it has not."""
    discount: Rate = 0.99
    """Of the returns that agents learn from; returns are reported without it."""
    observation_scale: Annotated[tuple[Positive, ...], AsTuple] = ()
    """How large the numbers of an observation are, one for each or one for all: they are divided by it. With it, they
    can be coded by populations."""

    def __post_init__(self) -> None:
        """Refuse tasks that nothing tells apart, two sources of them, or another environment in each."""
        if bool(self.parameters) == (self.sampler is not None):
            problem = "are both given" if self.parameters else "are both missing, so that all tasks are the same"
            raise ValueError(f"parameters and sampler {problem}: give one of them")
        if "env_id" in self.parameters:  # of wrappers around old Gym, which would import what a task names
            raise ValueError(
                "parameters hold env_id, which is another environment: give it in kwargs, the same for all"
            )

    @property
    def environment(self) -> Environment:
        """Without what differs between tasks."""
        return Environment(id=self.id, kwargs=self.kwargs)

    @property
    def own_modules(self) -> tuple[str, ...]:
        """That of the sampler."""
        return () if self.sampler is None else (self.sampler.partition(":")[0],)


AnyTasks = Annotated[SinusoidTasks | OmniglotTasks | GridworldTasks | EnvironmentTasks, Discriminator("name")]


@settings_class
class LearnerLayers:
    """What spiking and non-spiking learners share."""

    hidden_sizes: Sizes = (40, 40)
    """Of vectors' layers."""
    channels: Size | Sizes = 64
    """Filters of the four blocks, or of each of them, for images."""
    population: Population = None
    """Receptive fields of each feature of a sinusoid, or of a scaled observation; without them a feature is the input
    itself."""
    deviation: Positive = 1.0
    """Standard deviation of continuous actions at the start, in units of half their range where they have one."""

    def __post_init__(self) -> None:
        """Refuse filters of another number of blocks."""
        filters = (self.channels,) * 4 if isinstance(self.channels, int) else self.channels
        if len(filters) != 4:
            raise ValueError(f"channels are those of four blocks, or one number for all, got {len(filters)}")


@settings_class
class AnnLearner(LearnerLayers):
    """Rectified layers: fully connected for vectors, four convolutional blocks for images."""

    kind: Literal["ann"] = "ann"


@settings_class
class SpikingLearner(LearnerLayers, LeakyNeurons):
    """The same layers with LIF neurons, for which a bare feature is the input current."""

    kind: Literal["spiking"] = "spiking"
    steps_per_sample: Steps = 4
    """Simulation steps for which a sample is shown, from rest."""
    surrogate: Surrogate = "atan"
    """A flat one lets inner gradients reach all layers."""


Learner = Annotated[AnnLearner | SpikingLearner, Discriminator("kind")]


@settings_class
class OuterLoop:
    """Adam on the meta-gradient of a meta-batch."""

    meta_lr: Positive = 1e-3
    """Learning rate of the initial parameters at the start."""
    lr_decay: bool = True
    """Cosine schedule of all learning rates over the meta-iterations."""
    meta_batch: Count = 32
    """Tasks of a meta-iteration."""
    grad_clip: Positive | None = 10.0
    """Largest norm of the meta-gradient; ``None`` for none."""


@settings_class
class MetaTraining(OuterLoop):
    """MAML of networks that are trained by examples."""

    name: Literal["maml"] = "maml"
    maml: Maml = field(default_factory=Maml)
    """The inner loop."""


@settings_class
class MetaRlTraining(OuterLoop):
    """MAML of policies."""

    name: Literal["maml-rl"] = "maml-rl"
    maml: MamlRl = field(default_factory=MamlRl)
    """The inner loop, and how its outcome is judged."""
    meta_lr: Positive = 3e-3
    """Learning rate of the initial parameters at the start."""
    rate_lr: Positive = 1e-2
    """That of the inner rates, which are larger numbers."""
    meta_batch: Count = 20
    """Tasks of a meta-iteration."""
    grad_clip: Positive | None = 1.0
    """Largest norm of the meta-gradient; ``None`` for none."""


MetaAlgorithm = Annotated[MetaTraining | MetaRlTraining, Discriminator("name")]


@settings_class
class MetaStopping:
    """When training ends."""

    meta_iterations: Count
    """Updates of the meta-learned start, after which training ends."""

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.meta_iterations:,} meta-iterations"


@settings_class
class MetaEvaluation:
    """How learners are judged: on tasks that no training has seen."""

    tasks: NumTasks = 600
    """Test tasks of the final evaluation."""
    inner_steps: InnerSteps = 3
    """After which the score is taken; more than in training are common."""
    interval: Count = 500
    """Meta-iterations between evaluations during training, on validation tasks; checkpoints are written there too."""
    interim_tasks: NumTasks = 100
    """Validation tasks of each of these."""


@settings_class
class QComparison:
    """A comparison with tabular Q-learning on test tasks; see :func:`synrl_ray.meta.comparing.compare`."""

    env_steps: Count = 8_000
    """Environment steps that every learner has on a new task."""
    interval_steps: Count = 100
    """Environment steps between looks at its policy."""
    q_learning: QLearning = field(default_factory=QLearning)
    """Step size and schedules of Q-learning; its discount is that of the tasks."""
    epsilons: Annotated[tuple[Fraction, ...], AsTuple, MinLen(1)] = (0.05, 0.1, 0.2, 0.4)
    """Shares of random actions, of which the best on validation tasks is taken."""
    initial_values: Annotated[tuple[float, ...], AsTuple, MinLen(1)] = (0.0, 1.0)
    """Action values at the start, likewise."""
    inner_lrs: Annotated[tuple[Positive, ...], AsTuple, MinLen(1)] = (1.0, 3.0, 10.0, 30.0)
    """Learning rates of the policy that starts untrained, likewise."""
    pool_tasks: Count = 100
    """Training tasks whose action values make the pooled start."""
    pool_steps: Count = 20_000
    """Environment steps of each of them, with random actions."""
    validation_tasks: Annotated[int, Ge(2)] = 100
    """Tasks on which choices are made."""


@settings_class
class MetaTarget(BaseTarget):
    """The score to reach, and where the figure comes from."""

    accuracy: Fraction | None = None
    """Share of right answers after adaptation, at least."""
    loss: NonNegative | None = None
    """Query loss after adaptation, at most."""
    regret: NonNegative | None = None
    """Regret of the greedy policy after adaptation, as a share of the optimal return, at most."""
    mean_return: float | None = None
    """Mean return of the greedy policy after adaptation, at least."""


@settings_class
class MetaExperiment(BaseExperiment):
    """An initialisation from which a few gradient steps solve a new task."""

    kind: Literal["meta"] = "meta"
    tasks: AnyTasks
    spiking: SpikingLearner = field(default_factory=SpikingLearner)
    ann: AnnLearner = field(default_factory=AnnLearner)
    algorithm: MetaAlgorithm = field(default_factory=MetaTraining)
    stopping: MetaStopping
    evaluation: MetaEvaluation = field(default_factory=MetaEvaluation)
    comparison: QComparison | None = None
    """With Q-learning, on the same test tasks, after training; for gridworlds."""
    target: MetaTarget | None = None

    @property
    def group(self) -> str:
        """Of all tasks."""
        return "Meta-learning"

    def learner(self, kind: PolicyKind) -> Learner:
        """The learner of that kind."""
        return self.spiking if kind == "spiking" else self.ann
