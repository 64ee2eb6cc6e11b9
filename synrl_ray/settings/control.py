"""An experiment of reinforcement learning with gradients."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Discriminator

from synrl_ray.settings.algorithms import A2C, DQN, PPO, Reinforce
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.environment import Environment, Evaluation
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.settings.policy_kinds import TWINS, PolicyKind
from synrl_ray.settings.search import SearchSpace
from synrl_ray.settings.types import Count

ControlAlgorithm = Annotated[PPO | A2C | Reinforce | DQN, Discriminator("name")]


@settings_class
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


@settings_class
class Target:
    """The figure to reach, and where it comes from."""

    mean_return: float
    source: str


@settings_class
class Experiment:
    """What is trained, on what, how, until when, and how it is judged.

    Scale is not part of it: workers and clusters change resources, never hyperparameters.
    """

    kind: Literal["control"] = "control"
    id: str
    summary: str
    environment: Environment
    spiking: SpikingPolicy
    ann: AnnPolicy
    algorithm: ControlAlgorithm
    stopping: Stopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    target: Target | None = None
    search_space: SearchSpace = field(default_factory=dict)
    """Setting path → range, for a hyperparameter search."""

    @property
    def policies(self) -> tuple[PolicyKind, ...]:
        """The kinds of policies that there are; the first is the default."""
        return TWINS

    def policy(self, kind: PolicyKind) -> PolicyConfig:
        """The policy of that kind."""
        return self.spiking if kind == "spiking" else self.ann
