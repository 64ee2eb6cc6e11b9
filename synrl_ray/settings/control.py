"""An experiment of reinforcement learning with gradients."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from synrl_ray.settings.algorithms import ControlAlgorithm
from synrl_ray.settings.base import BaseExperiment, BaseTarget, EnvSteps
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.environment import Environment, Evaluation
from synrl_ray.settings.facts import SpaceFacts
from synrl_ray.settings.policies import AnnPolicy, PolicyConfig, SpikingPolicy
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.types import Count


@settings_class
class Stopping(EnvSteps):
    """When training ends: at ``env_steps``, or earlier once a greedy evaluation reaches ``mean_return``."""

    mean_return: float | None = None
    """Return of a greedy evaluation at which it ends earlier."""
    schedule_steps: Count | None = None
    """Environment steps over which schedules run, where a run ends at another point than it was planned for;
    ``env_steps`` by default."""


@settings_class
class Target(BaseTarget):
    """The return to reach, and where the figure comes from."""

    mean_return: float


@settings_class
class Experiment(BaseExperiment):
    """What is trained, on what, how, until when, and how it is judged.

    Scale is not part of it: workers and clusters change resources, never hyperparameters.
    """

    kind: Literal["control"] = "control"
    environment: Environment
    spiking: SpikingPolicy
    ann: AnnPolicy
    algorithm: ControlAlgorithm
    stopping: Stopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    target: Target | None = None
    facts: SpaceFacts | None = None
    """What ``--env`` has chosen the settings by; ``None`` for an experiment of a file."""

    @property
    def made_for(self) -> str | None:
        """The environment that it was made for, where no file describes it."""
        return None if self.facts is None else self.environment.id

    @property
    def group(self) -> str:
        """What is played from prepared frames is a game."""
        return "Control" if self.environment.preprocessing is None else "Games"

    def policy(self, kind: PolicyKind) -> PolicyConfig:
        """The policy of that kind."""
        return self.spiking if kind == "spiking" else self.ann
