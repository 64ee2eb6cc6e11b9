"""What the defaults for any environment are chosen by, as plain data (no Gymnasium import)."""

from __future__ import annotations

from typing import Literal

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.types import Count


@settings_class
class SpaceFacts:
    """What is known of an environment by its id, its spaces and its time limit, before anything is learned in it."""

    observations: Literal["vectors", "states", "images"]
    """Numbers that have no place, one of several states, or pixels that convolutions fit."""
    size: Count
    """Numbers that a network receives of one observation."""
    have_spread: bool
    """Whether these are measures of something, which can be normalised."""
    actions: Literal["discrete", "several", "continuous"]
    """One choice, several at once, or numbers."""
    num_actions: Count
    """Actions to choose from, or choices or numbers of one action."""
    time_limit: Count | None
    """Environment steps after which the environment ends an episode itself."""
    game: Literal["atari", "car_racing"] | None = None
    """Whose frames have a preparation of their own."""
