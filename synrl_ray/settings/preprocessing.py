"""How frames and actions are prepared before a policy meets them, as plain data (no Gymnasium import)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, MinLen
from pydantic import Discriminator

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.types import AsTuple, Fraction, Frames, Natural, Pixels, Signed

CarAction = Annotated[tuple[Signed, Fraction, Fraction], AsTuple]
"""Steering, gas and brake."""

STEERING_AND_PEDAL = tuple(
    (steering, gas, brake)
    for steering in (-1.0, -0.4, 0.0, 0.4, 1.0)
    for gas, brake in ((0.0, 0.0), (0.6, 0.0), (0.0, 0.5))
)
"""Five positions of the wheel, each rolling, on the gas and on the brake."""


@settings_class
class AtariFrames:
    """The usual preparation of Atari games (Machado et al. 2018, arXiv:1709.06009; Mnih et al. 2015).

    Observations are grey frames ``[1, screen_size, screen_size]`` of ``uint8``, one at a time: what a policy remembers
    of earlier ones is its own.
    """

    name: Literal["atari"] = "atari"
    screen_size: Pixels = 84
    """Height and width of a frame, pixels."""
    frame_skip: Frames = 4
    """Emulator frames for each action; the newest two are merged by their maximum."""
    noop_max: Annotated[int, Interval(ge=0, le=1_000)] = 30
    """Most no-op actions at the start of an episode, a random number of them."""
    sticky_actions: Fraction = 0.0
    """Probability that the emulator repeats its previous action."""
    fire: bool = True
    """Press FIRE at the start of every life, in games that wait for it."""
    life_loss_ends_episode: bool = True
    """In training only: a lost life is a terminal state."""
    clip_rewards: bool = True
    """In training only: rewards become -1, 0 or 1."""


@settings_class
class CarRacingFrames:
    """Frames and actions of CarRacing.

    Observations are ``uint8``, channels first: ``[1, size, size]`` grey, or ``[3, size, size]``.
    """

    name: Literal["car_racing"] = "car_racing"
    actions: Literal["continuous", "steering_pedal", "discrete"] = "discrete"
    """``continuous``: steering, gas, brake as they are; ``steering_pedal``: ``Box(-1, 1, (2,))``, where a positive
    pedal is gas and a negative one brake; ``discrete``: the entries of ``discrete_actions``."""
    discrete_actions: Annotated[tuple[CarAction, ...], AsTuple, MinLen(2)] = STEERING_AND_PEDAL
    """Steering, gas and brake of each discrete action."""
    action_repeat: Frames = 4
    """Frames that an action lasts; only the last one is drawn. Rewards are added up."""
    grey: bool = True
    """Grey frames instead of coloured ones."""
    crop: bool = True
    """Cut off the bar of indicators and as much of each side: 84 x 84 of the 96 x 96 pixels remain."""
    size: Pixels = 84
    """Width and height after resizing."""
    stop_off_track_after: Natural = 100
    """In training only: end an episode after this many frames without a new tile; 0 for never."""
    fast_drawing: bool = True
    """In training only: draw what is in sight, and drive and build tracks, in less time with the same results.
    Evaluation is on Gymnasium's own environment."""


Preprocessing = Annotated[AtariFrames | CarRacingFrames, Discriminator("name")]
