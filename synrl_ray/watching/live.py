"""Episode after episode before a screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from synrl_ray.evaluation.episodes import BatchPolicy, MakeEnv
from synrl_ray.evaluation.playing import Frame, PlayedEpisode, drawing, frames_per_second
from synrl_ray.watching.controls import Controls

_LAST_FRAME_SECONDS = 1.0
_MOST_STEPS = 1_000_000


class Moment(NamedTuple):
    """What a frame shows."""

    seed: int
    """Of the episode."""
    step: int
    """Environment steps so far."""
    episode_return: float
    """Rewards so far, undiscounted."""
    has_ended: bool = False

    def words(self) -> str:
        """A line for people."""
        ended = ", ended" if self.has_ended else ""
        return f"seed {self.seed}  step {self.step:,}  return {self.episode_return:,.6g}{ended}"


class Screen(Protocol):
    """Shows frames."""

    def show(self, frame: Frame, moment: Moment) -> None:
        """The newest frame ``[H, W, 3]``, RGB."""

    def listen(self) -> None:
        """Pass keys and clicks on to the controls."""


def play(
    policy: BatchPolicy,
    make_env: MakeEnv,
    screen: Screen,
    controls: Controls,
    *,
    seed: int,
    ended: Callable[[Moment], None],
) -> None:
    """Play greedy episodes until the controls are closed.

    Args:
        policy: as of :class:`~synrl_ray.evaluation.playing.PlayedEpisode`.
        make_env: makes an environment with ``render_mode="rgb_array"``.
        screen: shows them.
        controls: how fast, and which.
        seed: of the first episode; each has the next one but where another is asked for.
        ended: hears of each that was played to its end.

    Raises:
        UserError: for an environment that fails, or gives no RGB frames.
    """
    env = drawing(make_env)
    try:
        seconds = 1 / frames_per_second(env)
        while not controls.is_closed:
            episode, began = PlayedEpisode(policy, env, seed, _MOST_STEPS), time.monotonic()
            for frame in episode.frames():
                moment = Moment(seed, episode.env_steps, episode.episode_return, episode.ended)
                screen.show(frame, moment)
                if not controls.wait(_LAST_FRAME_SECONDS if episode.ended else seconds, began, screen.listen):
                    break
                began = time.monotonic()
            if episode.ended:
                ended(moment)
            seed = controls.take_seed(seed)
    finally:
        env.close()
