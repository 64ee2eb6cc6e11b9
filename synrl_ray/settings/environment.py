"""The environment of an experiment, and how policies are judged in it."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from annotated_types import Interval, MaxLen

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.preprocessing import Preprocessing
from synrl_ray.settings.types import Count, Fraction, JsonMapping, Natural, NumEpisodes, Positive


@settings_class
class Environment:
    """A Gymnasium environment."""

    id: Annotated[str, MaxLen(200)]
    """Registered id, as ``gymnasium.make`` takes it (``module:Id`` imports the module first)."""
    kwargs: JsonMapping = field(default_factory=dict)
    """Keyword arguments of ``gymnasium.make``."""
    preprocessing: Preprocessing | None = None
    """How frames and actions are prepared; ``None`` takes the environment as it is."""
    reward_scale: Positive = 1.0
    """Factor of the rewards that the learner sees; returns are reported without it."""
    normalise_rewards: bool = False
    """Also divide them by the running standard deviation of the discounted return; where rollouts are learned from."""
    num_envs: Annotated[int, Interval(ge=1, le=2**16)] = 8
    """Environments stepped together, divided among the env runners."""
    max_failure_share: Fraction = 0.01
    """Failures (an exception, or NaN) in each environment step that are borne: the environment is then restarted. More
    of them, and more than three, stop the run."""


@settings_class
class Evaluation:
    """Greedy evaluation, on environment seeds that training never uses."""

    episodes: NumEpisodes = 100
    """Episodes of the final evaluation."""
    first_seed: Natural = 1_000_000
    """Seed of the first episode; the following ones count up."""
    interval_steps: Count = 10_000
    """Environment steps between the evaluations during training."""
    interim_episodes: NumEpisodes = 20
    """Episodes of each evaluation during training."""
    parallel_to_training: bool = False
    """Whether training goes on during these, which another process makes; a trial of a search waits for them. They are
    the same, and stand at the steps of the policies that they judge. A run that is to end by one trains on until it is
    known."""
