"""An experiment with an agent that learns by local rules, without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Discriminator

from synrl_ray.settings.base import BaseExperiment, BaseTarget, EnvSteps
from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.environment import Environment, Evaluation
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.q_learning import QLearning
from synrl_ray.settings.r_stdp import RStdp
from synrl_ray.settings.stdp_q import StdpQ
from synrl_ray.settings.types import Count, Fraction, NonNegative

LocalSettings = Annotated[QLearning | StdpQ | RStdp, Discriminator("name")]
"""Settings of a local rule; ``name`` tells them apart."""


@settings_class
class LocalStopping(EnvSteps):
    """When training ends: at ``env_steps``, or earlier once an exact evaluation has at most this ``regret``."""

    regret: NonNegative | None = None
    """Regret of a greedy evaluation at which training ends earlier."""


@settings_class
class RegretTarget(BaseTarget):
    """The regret to reach, in units of return, and where the figure comes from."""

    regret: NonNegative

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether an exact evaluation (``regret``) is as good."""
        regret = figures.get("regret")
        return regret is not None and regret <= self.regret


@settings_class
class PathTarget(BaseTarget):
    """How a maze is to be crossed, and where the figures come from."""

    success_rate: Fraction
    """share of start cells from which the goal is reached."""
    path_ratio: Annotated[float, Ge(1)]
    """Moves over those of the shortest path, at most; the mean over these cells."""

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether an exact evaluation (``success_rate`` and ``path_ratio``) is as good."""
        success, ratio = figures.get("success_rate"), figures.get("path_ratio")
        return success is not None and ratio is not None and success >= self.success_rate and ratio <= self.path_ratio


@settings_class
class ReturnTarget(BaseTarget):
    """The mean return of greedy episodes to reach, and where the figure comes from; of environments without a table."""

    mean_return: float

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether greedy episodes (``return_mean``) are as good."""
        mean = figures.get("return_mean")
        return mean is not None and mean >= self.mean_return


@settings_class
class LocalExperiment(BaseExperiment):
    """An agent that learns where it acts, by local rules and without gradients.

    Where the environment has a transition table, the policy is judged exactly: its regret is the expected return of
    the best policy less its own. In a maze, paths are followed from every first cell as well.
    """

    kind: Literal["local"] = "local"
    environment: Environment
    algorithm: LocalSettings
    steps_per_iteration: Count = 10_000
    """Environment steps after which the changes of all env runners become one, over all of them."""
    merge: Literal["mean", "sum"] = "mean"
    """How: the step of an average runner, or all steps; see :func:`synrl_ray.plasticity.merging.merge_deltas`."""
    stopping: LocalStopping
    evaluation: Evaluation = field(default_factory=Evaluation)
    target: RegretTarget | PathTarget | ReturnTarget | None = None
    initial_policy: str | None = None
    """Folder of a trained policy of the same kind to start from, such as a run's; ``None`` for a new one."""

    @property
    def group(self) -> str:
        """Tables and synapses alike."""
        return "Plasticity and local learning"

    @property
    def policies(self) -> tuple[PolicyKind, ...]:
        """The kind of policy that the algorithm trains."""
        return (self.algorithm.policy,)
