"""An experiment whose policies are evolved, without gradients."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Interval

from synrl_ray.settings.base import BaseExperiment, EnvSteps
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.environment import Environment, Evaluation
from synrl_ray.settings.hebbian import AnnHebbian, SpikingHebbian
from synrl_ray.settings.local import ReturnTarget
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.types import Count, JsonMapping, NonNegative, Positive, Rate


@settings_class
class OpenAiEs:
    """Evolution strategies of Salimans et al. (2017), arXiv:1703.03864: mirrored sampling and centred ranks."""

    name: Literal["openai_es"] = "openai_es"
    num_pairs: Count = 64
    """Perturbations in each generation; each is evaluated as it is and mirrored, so that there are twice as many
    individuals."""
    num_episodes: Annotated[int, Interval(ge=1, le=1_000)] = 2
    """Episodes of each evaluation. Environment seeds and initial weights are those of the generation, so that
    individuals differ by their genes alone."""
    ranked: Literal["mean", "episode"] = "mean"
    """Whether individuals are ranked by their mean return, or in each of the generation's episodes, of which the mean
    rank counts: then an episode that few master counts as much as one in which returns are high."""
    sigma: Positive = 0.1
    """Standard deviation of the perturbations."""
    sigma_decay: Rate = 0.999
    """Its factor from one generation to the next."""
    sigma_min: NonNegative = 0.01
    """Where it stays."""
    lr: Positive = 0.1
    """Learning rate."""
    lr_decay: Rate = 1.0
    """Its factor from one generation to the next."""
    lr_min: NonNegative = 0.001
    """Where it stays."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """What makes a step of the estimated gradient: Adam, with 0.9 and 0.999, or plain ascent as in Najarro & Risi, who
    divide ranks by their deviation: their rate is 0.29 times that of the same step here."""
    weight_decay: NonNegative = 0.005
    """Times the genes, taken from the gradient."""
    initial_std: Positive = 0.3
    """Standard deviation of the genes at the start."""


@settings_class
class EvolutionStopping(EnvSteps):
    """When evolution ends: with the generation that reaches ``env_steps``, or one of which a greedy evaluation has at
    least this ``mean_return``."""

    mean_return: float | None = None
    """Mean return of a greedy evaluation at which evolution ends earlier."""


@settings_class
class EvolutionExperiment(BaseExperiment):
    """Hebbian rules, or fixed weights, by evolution strategies.

    An iteration is a generation. ``environment.num_envs`` is how many environments each worker steps together, which
    changes nothing but the time that it takes.
    """

    kind: Literal["evolution"] = "evolution"
    environment: Environment
    spiking: SpikingHebbian = field(default_factory=SpikingHebbian)
    ann: AnnHebbian = field(default_factory=AnnHebbian)
    algorithm: OpenAiEs = field(default_factory=OpenAiEs)
    stopping: EvolutionStopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    held_out: JsonMapping = field(default_factory=dict)
    """Keyword arguments that replace the environment's own in a second judgement at the end, such as changes of the
    body that evolution never met; empty for none."""
    target: ReturnTarget | None = None

    @property
    def group(self) -> str:
        """Rules that change weights, found by evolution."""
        return "Plasticity and local learning"

    def policy(self, kind: PolicyKind) -> AnnHebbian | SpikingHebbian:
        """The network of that kind."""
        return self.spiking if kind == "spiking" else self.ann
