"""The parts of a result. Whoever reads one knows no kind of run: figures have names, and intervals say of what.

Legend: a *figure* is one number under a name (``return_iqm``, ``regret``, ``accuracy``), ``None`` where there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import field
from itertools import chain
from typing import Annotated, Any, Literal

from annotated_types import Ge
from annotated_types import Interval as Between

from synrl_ray.results.layout import laid_out
from synrl_ray.results.provenance import Provenance
from synrl_ray.settings.checked import settings_class, to_json

SCHEMA: Literal[2] = 2
"""Version of this form; what was written before it had one is version 1."""

Figure = int | float | None
"""A count stays a whole number."""
Figures = Mapping[str, Figure]
Count = Annotated[int, Ge(0)]


@settings_class
class Interval:
    """How sure a figure is."""

    of: str
    """Name of the figure."""
    low: float
    high: float
    method: str
    """How it was computed, such as "percentile bootstrap"."""
    over: str
    """What it is taken over, such as "episodes, stratified by seed" or "test images"."""
    level: Annotated[float, Between(gt=0, lt=1)] = 0.95

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"the interval of {self.of} begins at {self.low} and ends at {self.high}")


@settings_class
class Episodes:
    """The episodes in which a policy was judged, each in an environment with a seed of its own."""

    seeds: tuple[int, ...]
    """With which the environment was reset, one for each episode."""
    returns: tuple[float, ...]
    """Undiscounted, in reward units."""
    lengths: tuple[Count, ...] | None = None
    """Environment steps; ``None`` in results of version 1."""
    digests: tuple[str, ...] | None = None
    """Of each episode's observations, actions and rewards: equal digests are equal episodes."""

    def __post_init__(self) -> None:
        for name in ("returns", "lengths", "digests"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.seeds):
                raise ValueError(f"{len(self.seeds)} seeds of episodes, but {len(column)} {name}")

    @property
    def distinct(self) -> int | None:
        """How many of them differ from all others; ``None`` where that was not recorded."""
        return None if self.digests is None else len(set(self.digests))


@settings_class
class Training:
    """How one seed was trained."""

    seed: int
    unit: str
    """What ``steps`` counts: ``env_steps``, ``samples`` or ``meta_iterations``."""
    steps: Count | None
    wall_seconds: float
    episodes: Count | None = None
    """That ended in training."""
    steps_to_target: Count | None = None
    """At the first evaluation during training that reached the target; ``None`` if none did."""
    seconds_to_target: float | None = None
    time_shares: Mapping[str, float] | None = None
    """Of environment, policy and learner, in the seconds of all processes."""
    num_workers: Count | None = None
    num_learners: Count | None = None

    @property
    def steps_per_second(self) -> float:
        """Speed on the clock."""
        return (self.steps or 0) / max(self.wall_seconds, 1e-9)


@settings_class
class TargetReached:
    """What was to be reached, and by how many of the seeds it was."""

    bounds: Mapping[str, float] | None
    """Figure and bound each; ``None`` where version 1 did not say."""
    in_training: Count | None
    """Seeds of which an evaluation during training reached it."""
    at_end: Count
    """Seeds whose final judgement does."""


@settings_class
class Adaptation:
    """How a meta-learned start adapts to test tasks."""

    by_step: Mapping[str, tuple[float, ...]]
    """Figure → its mean over tasks after 0, 1, … inner steps."""
    errors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same names → 1.96 standard errors over tasks."""
    tasks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same names → the score of each task after the protocol's inner steps."""
    copies: tuple[int, ...] | None = None
    """For each task the number of the first one that is equal to it; ``None`` where all differ, or nobody looked."""
    env_steps: tuple[float, ...] | None = None
    """Environment steps that adaptation takes on a task, after 0, 1, … inner steps."""
    untrained: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The same names → means over tasks of the start as it was made, after 0, 1, … inner steps."""


@settings_class
class Film:
    """A video of one episode."""

    path: str
    cut_after: Count | None = None
    """Environment steps, where the episode goes on."""


@settings_class
class Result:
    """What one run has come to, or several seeds together, or a policy that was judged again.

    Raises:
        ValueError: for a figure, an interval or a column for each seed that fits nothing, or a confusion that is no
            square.
    """

    schema: Literal[2] = SCHEMA
    experiment: str | None
    policy: str
    score: str
    """Name of the figure that counts."""
    figures: Figures
    intervals: tuple[Interval, ...] = ()
    protocol: Mapping[str, Any]
    """How the policy was judged."""
    training: tuple[Training, ...] = ()
    """Of each seed; empty for a policy that was judged again."""
    per_seed: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    """Figure → its value for each seed, in the order of ``training``; empty unless there are several seeds."""
    target: TargetReached | None = None
    greedy: Episodes | None = None
    """Episodes in which the policy took its likeliest actions; of several seeds: see the seeds' own results."""
    sampled: Episodes | None = None
    """Episodes in which it drew its actions, where it is trained to."""
    zeroed: Episodes | None = None
    """Greedy episodes of a policy that carries a state, which was that of an episode's start before every decision."""
    adaptation: Adaptation | None = None
    energy: Mapping[str, Any] | None = None
    confusion: tuple[tuple[Count, ...], ...] | None = None
    """Test images by true class (row) and predicted class."""
    comparison: Mapping[str, Any] | None = None
    """Of learners on the same tasks."""
    provenance: Provenance | None = None
    """Where the figures are from."""
    run: str | None = None
    """The folder whose policy was judged again."""
    video: Film | None = None

    def __post_init__(self) -> None:
        if self.score not in self.figures:
            raise ValueError(f"there is no figure {self.score!r}, which is said to be the score")
        for interval in self.intervals:
            if interval.of not in self.figures:
                raise ValueError(f"there is no figure {interval.of!r}, of which there is an interval")
        for name, values in self.per_seed.items():
            if len(values) != len(self.training):
                raise ValueError(f"{name} has {len(values)} values for {len(self.training)} seeds")
        every = chain(self.figures.items(), ((name, value) for name in self.per_seed for value in self.per_seed[name]))
        if large := [name for name, value in every if type(value) is int and abs(value) > sys.float_info.max]:
            raise ValueError(f"{large[0]} is a number that no float holds")
        if self.confusion is not None and any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError(f"confusion has {len(self.confusion)} rows, of which some are not as long")

    def __str__(self) -> str:
        """The score, in a line."""
        value = self.figures[self.score]
        return f"{self.experiment} {self.policy}: {self.score} {'unknown' if value is None else format(value, '.6g')}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """That were trained."""
        return tuple(each.seed for each in self.training)

    def table(self) -> list[dict[str, Any]]:
        """A row for each figure: its name, value, and what is known of its interval."""
        rows = []
        for name, value in self.figures.items():
            found = self.interval(name)
            sure = {} if found is None else {"low": found.low, "high": found.high, "over": found.over}
            rows.append({"figure": name, "value": value, **sure})
        return rows

    def interval(self, of: str) -> Interval | None:
        """The interval of a figure, if there is one."""
        return next((interval for interval in self.intervals if interval.of == of), None)

    def figure(self, name: str) -> float:
        """A figure that is known.

        Raises:
            ValueError: if it is not.
        """
        value = self.figures.get(name)
        if value is None:
            raise ValueError(f"it has no {name}")
        return value

    def as_json(self) -> str:
        """The result as it is written and printed: one column of numbers to a line."""
        return laid_out(to_json(self)) + "\n"
