"""The typed description of an experiment: data only, so that reading it imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval
from pydantic import Field

from synrl_ray.envs.config import AtariFrames, CarRacingFrames, Preprocessing
from synrl_ray.policies.config import AnnPolicy, PolicyConfig, PolicyKind, SpikingPolicy
from synrl_ray.supervised.config import AnnClassifier, ClassifierConfig, SpikingClassifier

__all__ = [
    "A2C",
    "DQN",
    "PPO",
    "AccuracyTarget",
    "AnnClassifier",
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
    "LogUniform",
    "Mnist",
    "PolicyKind",
    "Reinforce",
    "SpikingClassifier",
    "SpikingPolicy",
    "Stopping",
    "Supervised",
    "Target",
    "Uniform",
]

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Gymnasium environment."""

    id: str
    """Registered id, as ``gymnasium.make`` takes it (``module:Id`` imports the module first)."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``gymnasium.make``."""
    preprocessing: Annotated[Preprocessing, Field(discriminator="name")] | None = None
    """How frames and actions are prepared; ``None`` takes the environment as it is."""
    reward_scale: Positive = 1.0
    """Factor of the rewards that the learner sees; returns are reported without it."""
    normalise_rewards: bool = False
    """Also divide them by the running standard deviation of the discounted return; on batched rollouts."""
    num_envs: Count = 8
    """Environments stepped together, divided among the env runners."""
    max_failure_share: Fraction = 0.01
    """Failures (an exception, or NaN) in each environment step that are borne: the environment is then restarted. More
    of them, and more than three, stop the run."""


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), on batched rollouts."""

    name: Literal["ppo"] = "ppo"
    lr: Positive = 1e-3
    """Learning rate of Adam at the start."""
    lr_decay: bool = True
    """Anneal the learning rate linearly to zero at the last step."""
    gamma: Fraction = 0.99
    """Discount."""
    gae_lambda: Fraction = 0.95
    """Lambda of generalised advantage estimation."""
    train_batch_size: Count = 2048
    """Environment steps for each update, over all env runners."""
    minibatch_size: Count = 128
    num_epochs: Count = 8
    """Passes over each train batch."""
    clip_param: Positive = 0.2
    entropy_coeff: Annotated[float, Ge(0)] = 0.0
    vf_loss_coeff: Annotated[float, Ge(0)] = 0.5
    grad_clip: Positive = 0.5
    """Bound on the global norm of the gradient."""


@dataclass(frozen=True, kw_only=True)
class A2C:
    """Advantage actor-critic, synchronous (Mnih et al. 2016, arXiv:1602.01783): one step on each fragment."""

    name: Literal["a2c"] = "a2c"
    lr: Positive = 7e-4
    """Learning rate of RMSprop at the start."""
    lr_decay: bool = True
    """Anneal the learning rate linearly to zero at the last step."""
    gamma: Fraction = 0.99
    """Discount."""
    gae_lambda: Fraction = 1.0
    """Lambda of generalised advantage estimation; 1 gives n-step returns."""
    num_steps: Count = 5
    """Environment steps of a fragment, in each environment."""
    entropy_coeff: Annotated[float, Ge(0)] = 0.0
    vf_loss_coeff: Annotated[float, Ge(0)] = 0.5
    rmsprop_alpha: Fraction = 0.99
    rmsprop_eps: Positive = 1e-5
    """Epsilon, inside the root as in TensorFlow."""
    grad_clip: Positive = 0.5
    """Bound on the global norm of the gradient."""


@dataclass(frozen=True, kw_only=True)
class Reinforce:
    """REINFORCE (Williams 1992, doi:10.1007/BF00992696): whole episodes, one in each environment, reward-to-go."""

    name: Literal["reinforce"] = "reinforce"
    lr: Positive = 3e-3
    """Learning rate of Adam at the start."""
    lr_decay: bool = True
    """Anneal the learning rate linearly to zero at the last step."""
    gamma: Fraction = 0.99
    """Discount."""
    use_baseline: bool = True
    """Subtract the critic's values from the rewards to go; without it, a truncated episode counts as ended there."""
    entropy_coeff: Annotated[float, Ge(0)] = 0.0
    vf_loss_coeff: Annotated[float, Ge(0)] = 0.5
    grad_clip: Positive = 0.5
    """Bound on the global norm of the gradient."""


@dataclass(frozen=True, kw_only=True)
class DQN:
    """Deep Q-learning (Mnih et al. 2015, doi:10.1038/nature14236) with RLlib's DQN, on a replay of transitions.

    For policies without state: the replay keeps none.
    """

    name: Literal["dqn"] = "dqn"
    lr: Positive = 1e-3
    """Learning rate of Adam at the start."""
    lr_decay: bool = True
    """Anneal the learning rate linearly to zero at the last step."""
    gamma: Fraction = 0.99
    """Discount."""
    train_batch_size: Count = 64
    """Transitions of each update."""
    train_interval: Count = 256
    """Environment steps between two trainings, over all environments."""
    num_updates: Count = 128
    """Updates of each training."""
    replay_capacity: Count = 50_000
    """Transitions in the replay."""
    learning_starts: Count = 1_000
    """Transitions in the replay before updates begin; after a resumption too, since checkpoints do not hold it."""
    epsilon_start: Fraction = 1.0
    """Probability of a random action at the start."""
    epsilon_end: Fraction = 0.05
    """Probability of a random action at the end of the schedule, which is linear, and after it."""
    epsilon_steps: Count = 10_000
    """Environment steps of the schedule."""
    target_update: Count = 256
    """Environment steps between hard updates of the target network; not used where ``tau`` is below 1."""
    tau: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Share of the network that the target takes over: 1 for hard updates, less for a soft one after every update."""
    double_q: bool = True
    """Let the network choose the next action, and the target value it (van Hasselt et al. 2016, arXiv:1509.06461)."""
    dueling: bool = False
    """Compose the values of the critic and the actor's advantages (Wang et al. 2016, arXiv:1511.06581)."""
    n_step: Count = 1
    """Rewards that are summed before a value is taken from the target network."""
    prioritised: bool = False
    """Prefer transitions with large errors (Schaul et al. 2016, arXiv:1511.05952)."""
    priority_alpha: Fraction = 0.6
    """How much priorities count; used where ``prioritised``."""
    priority_beta: Fraction = 0.4
    """How much the loss corrects for them; used where ``prioritised``."""
    grad_clip: Positive = 10.0
    """Bound on the global norm of the gradient."""


ControlAlgorithm = PPO | A2C | Reinforce | DQN


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When training ends: at ``env_steps``, or earlier once a greedy evaluation reaches ``mean_return``."""

    env_steps: Count
    mean_return: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Greedy evaluation, on environment seeds that training never uses."""

    episodes: Count = 100
    """Episodes of the final evaluation."""
    first_seed: Annotated[int, Ge(0)] = 1_000_000
    """Seed of the first episode; the following ones count up."""
    interval_steps: Count = 10_000
    """Environment steps between the evaluations during training."""
    interim_episodes: Count = 20
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

    def policy(self, kind: PolicyKind) -> PolicyConfig:
        """The policy of that kind."""
        return self.spiking if kind == "spiking" else self.ann


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

    def policy(self, kind: PolicyKind) -> ClassifierConfig:
        """The classifier of that kind."""
        return self.spiking if kind == "spiking" else self.ann


AnyExperiment = Experiment | ClassificationExperiment
