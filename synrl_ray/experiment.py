"""The typed description of an experiment: data only, so that reading it imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, MaxLen
from pydantic import Field

from synrl_ray.algorithm_settings import A2C, DQN, PPO, Count, Fraction, Positive, Reinforce
from synrl_ray.envs.config import AtariFrames, CarRacingFrames, Preprocessing
from synrl_ray.meta.config import Maml, MamlRl
from synrl_ray.meta.settings import (
    AnnLearner,
    GridworldTaskSettings,
    Learner,
    MetaEvaluation,
    MetaRlTraining,
    MetaStopping,
    MetaTarget,
    MetaTraining,
    OmniglotTasks,
    QComparison,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.policies.config import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.policies.local_agents import KINDS, LocalSettings
from synrl_ray.policies.maze_agent_config import RStdp
from synrl_ray.policies.q_table_config import QLearning
from synrl_ray.policies.stdp_q_config import StdpQ
from synrl_ray.supervised.config import AnnClassifier, ClassifierConfig, SpikingClassifier

__all__ = [
    "A2C",
    "DQN",
    "PPO",
    "AccuracyTarget",
    "AnnClassifier",
    "AnnLearner",
    "AnnPolicy",
    "AnyExperiment",
    "AtariFrames",
    "CarRacingFrames",
    "Choice",
    "ClassificationExperiment",
    "Environment",
    "Epochs",
    "Evaluation",
    "Experiment",
    "GridworldTaskSettings",
    "LocalExperiment",
    "LocalStopping",
    "LogUniform",
    "Maml",
    "MamlRl",
    "MetaEvaluation",
    "MetaExperiment",
    "MetaRlTraining",
    "MetaStopping",
    "MetaTarget",
    "MetaTraining",
    "Mnist",
    "OmniglotTasks",
    "PathTarget",
    "PolicyKind",
    "QComparison",
    "QLearning",
    "RStdp",
    "RegretTarget",
    "Reinforce",
    "SinusoidTasks",
    "SpikingClassifier",
    "SpikingLearner",
    "SpikingPolicy",
    "StdpQ",
    "Stopping",
    "Supervised",
    "Target",
    "Uniform",
]

Episodes = Annotated[int, Interval(ge=1, le=100_000)]
PolicyKind = Literal["spiking", "ann", "tabular"]
TWINS: tuple[PolicyKind, ...] = ("spiking", "ann")
"""Of an experiment with a spiking network and its non-spiking twin."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Gymnasium environment."""

    id: Annotated[str, MaxLen(200)]
    """Registered id, as ``gymnasium.make`` takes it (``module:Id`` imports the module first)."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``gymnasium.make``."""
    preprocessing: Annotated[Preprocessing, Field(discriminator="name")] | None = None
    """How frames and actions are prepared; ``None`` takes the environment as it is."""
    reward_scale: Positive = 1.0
    """Factor of the rewards that the learner sees; returns are reported without it."""
    normalise_rewards: bool = False
    """Also divide them by the running standard deviation of the discounted return; on batched rollouts."""
    num_envs: Annotated[int, Interval(ge=1, le=2**16)] = 8
    """Environments stepped together, divided among the env runners."""
    max_failure_share: Fraction = 0.01
    """Failures (an exception, or NaN) in each environment step that are borne: the environment is then restarted. More
    of them, and more than three, stop the run."""


ControlAlgorithm = PPO | A2C | Reinforce | DQN


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When training ends: at ``env_steps``, or earlier once a greedy evaluation reaches ``mean_return``."""

    env_steps: Count
    mean_return: float | None = None
    schedule_steps: Count | None = None
    """Environment steps over which schedules run, where a run ends at another point than it was planned for;
    ``env_steps`` by default."""

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.env_steps:,} environment steps"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Greedy evaluation, on environment seeds that training never uses."""

    episodes: Episodes = 100
    """Episodes of the final evaluation."""
    first_seed: Annotated[int, Ge(0)] = 1_000_000
    """Seed of the first episode; the following ones count up."""
    interval_steps: Count = 10_000
    """Environment steps between the evaluations during training."""
    interim_episodes: Episodes = 20
    """Episodes of each evaluation during training."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The figure to reach, and where it comes from."""

    mean_return: float
    source: str


@dataclass(frozen=True)
class LogUniform:
    """A number between ``low`` and ``high``, uniform in its logarithm."""

    low: float
    high: float
    kind: Literal["log_uniform"] = "log_uniform"


@dataclass(frozen=True)
class Uniform:
    """A number between ``low`` and ``high``."""

    low: float
    high: float
    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class Choice:
    """One of ``options``."""

    options: tuple[Any, ...]
    kind: Literal["choice"] = "choice"

    def __post_init__(self) -> None:
        """Sizes come back from JSON as lists."""
        options = tuple(tuple(option) if isinstance(option, list) else option for option in self.options)
        object.__setattr__(self, "options", options)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained, on what, how, until when, and how it is judged.

    Scale is not part of it: workers and clusters change resources, never hyperparameters.
    """

    task: Literal["control"] = "control"
    id: str
    summary: str
    environment: Environment
    spiking: SpikingPolicy
    ann: AnnPolicy
    algorithm: Annotated[ControlAlgorithm, Field(discriminator="name")]
    stopping: Stopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    target: Target | None = None
    search_space: Mapping[str, LogUniform | Uniform | Choice] = field(default_factory=dict)
    """Setting path → range, for a hyperparameter search."""

    @property
    def kinds(self) -> tuple[PolicyKind, ...]:
        """The kinds of policies that there are; the first is the default."""
        return TWINS

    def policy(self, kind: PolicyKind) -> PolicyConfig:
        """The policy of that kind."""
        return self.spiking if kind == "spiking" else self.ann


@dataclass(frozen=True, kw_only=True)
class LocalStopping:
    """When training ends: at ``env_steps``, or earlier once an exact evaluation has at most this ``regret``."""

    env_steps: Count
    regret: Annotated[float, Ge(0)] | None = None

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.env_steps:,} environment steps"


@dataclass(frozen=True, kw_only=True)
class RegretTarget:
    """The regret to reach, in units of return, and where the figure comes from."""

    regret: Annotated[float, Ge(0)]
    source: str

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether an exact evaluation (``regret``) is as good."""
        regret = figures.get("regret")
        return regret is not None and regret <= self.regret


@dataclass(frozen=True, kw_only=True)
class PathTarget:
    """How a maze is to be crossed, and where the figures come from."""

    success_rate: Fraction
    """share of start cells from which the goal is reached."""
    path_ratio: Annotated[float, Ge(1)]
    """Moves over those of the shortest path, at most; the mean over these cells."""
    source: str

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether an exact evaluation (``success_rate`` and ``path_ratio``) is as good."""
        success, ratio = figures.get("success_rate"), figures.get("path_ratio")
        return success is not None and ratio is not None and success >= self.success_rate and ratio <= self.path_ratio


@dataclass(frozen=True, kw_only=True)
class LocalExperiment:
    """An agent that learns where it acts, by local rules and without gradients.

    Where the environment has a transition table, the policy is judged exactly: its regret is the expected return of
    the best policy less its own. In a maze, paths are followed from every first cell as well.
    """

    task: Literal["local"] = "local"
    id: str
    summary: str
    environment: Environment
    algorithm: Annotated[LocalSettings, Field(discriminator="name")]
    steps_per_iteration: Count = 10_000
    """Environment steps after which the changes of all env runners become one, over all of them."""
    merge: Literal["mean", "sum"] = "mean"
    """How: the step of an average runner, or all steps; see :func:`synrl_ray.plasticity.merging.merge_deltas`."""
    stopping: LocalStopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    target: RegretTarget | PathTarget | None = None
    initial_policy: str | None = None
    """Folder of a trained policy of the same kind to start from, such as a run's; ``None`` for a new one."""
    search_space: Mapping[str, LogUniform | Uniform | Choice] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[PolicyKind, ...]:
        """The kind of policy that the algorithm trains."""
        return (KINDS[self.algorithm.name],)


@dataclass(frozen=True, kw_only=True)
class Mnist:
    """Handwritten digits (LeCun, Cortes, Burges), the official training and test sets."""

    digits: tuple[int, ...] | Literal["all"] = "all"
    """Which digits are told apart."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The digits as numbers."""
        return tuple(range(10)) if self.digits == "all" else self.digits


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Cross-entropy on the readout by Adam, with a cosine schedule."""

    name: Literal["supervised"] = "supervised"
    lr: Positive = 2e-3
    """Learning rate at the start."""
    batch_size: Count = 128
    weight_decay: Annotated[float, Ge(0)] = 0.0
    max_shift: Annotated[int, Interval(ge=0, le=8)] = 0
    """Augmentation: training images are moved by up to this many pixels; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """When training ends."""

    epochs: Count

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.epochs} epochs"


@dataclass(frozen=True, kw_only=True)
class AccuracyTarget:
    """The accuracy on the test set to reach, and where the figure comes from."""

    accuracy: Fraction
    source: str


@dataclass(frozen=True, kw_only=True)
class ClassificationExperiment:
    """Images to classes."""

    task: Literal["classification"] = "classification"
    id: str
    summary: str
    data: Mnist
    spiking: SpikingClassifier
    ann: AnnClassifier
    algorithm: Supervised
    stopping: Epochs
    target: AccuracyTarget | None = None
    search_space: Mapping[str, LogUniform | Uniform | Choice] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[PolicyKind, ...]:
        """The kinds of policies that there are; the first is the default."""
        return TWINS

    def policy(self, kind: PolicyKind) -> ClassifierConfig:
        """The classifier of that kind."""
        return self.spiking if kind == "spiking" else self.ann


@dataclass(frozen=True, kw_only=True)
class MetaExperiment:
    """An initialisation from which a few gradient steps solve a new task."""

    task: Literal["meta"] = "meta"
    id: str
    summary: str
    tasks: Annotated[SinusoidTasks | OmniglotTasks | GridworldTaskSettings, Field(discriminator="name")]
    spiking: SpikingLearner = field(default_factory=SpikingLearner)
    ann: AnnLearner = field(default_factory=AnnLearner)
    algorithm: Annotated[MetaTraining | MetaRlTraining, Field(discriminator="name")] = field(
        default_factory=MetaTraining
    )
    stopping: MetaStopping
    evaluation: MetaEvaluation = field(default_factory=MetaEvaluation)
    comparison: QComparison | None = None
    """With Q-learning, on the same test tasks, after training; for gridworlds."""
    target: MetaTarget | None = None
    search_space: Mapping[str, LogUniform | Uniform | Choice] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[PolicyKind, ...]:
        """The kinds of learners that there are; the first is the default."""
        return TWINS

    def learner(self, kind: PolicyKind) -> Learner:
        """The learner of that kind."""
        return self.spiking if kind == "spiking" else self.ann


AnyExperiment = Experiment | LocalExperiment | ClassificationExperiment | MetaExperiment
