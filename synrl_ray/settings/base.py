"""What experiments of all kinds share."""

from __future__ import annotations

from dataclasses import field

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.policy_kinds import TWINS, PolicyKind
from synrl_ray.settings.search import SearchSpace, checked_space
from synrl_ray.settings.types import Count


@settings_class
class BaseExperiment:
    """An experiment, of whichever kind."""

    id: str
    summary: str
    search_space: SearchSpace = field(default_factory=dict)
    """Setting path → range, for a hyperparameter search."""

    def __post_init__(self) -> None:
        """Refuse a search of what the settings cannot be."""
        object.__setattr__(self, "search_space", checked_space(self))

    @property
    def policies(self) -> tuple[PolicyKind, ...]:
        """The kinds of policies that there are; the first is the default."""
        return TWINS

    @property
    def group(self) -> str:
        """What it is listed under."""
        return "Others"

    @property
    def made_for(self) -> str | None:
        """The environment that it was made for, where no file describes it."""
        return None


@settings_class
class BaseTarget:
    """A figure to reach."""

    source: str
    """Where it comes from."""


@settings_class
class EnvSteps:
    """When training in an environment ends."""

    env_steps: Count
    """Environment steps after which training ends."""

    @property
    def amount(self) -> str:
        """How much that is, in words."""
        return f"{self.env_steps:,} environment steps"
