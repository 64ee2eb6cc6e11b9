"""An episode as pictures: what the environment draws, with the policy's spikes beside it where it shows them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from synrl_ray.envs.checked import RAISED, CheckedEnv, checked
from synrl_ray.errors import UserError, reason_of
from synrl_ray.evaluation.episodes import BatchPolicy, MakeEnv
from synrl_ray.evaluation.spike_raster import MIN_BAND_PIXELS, SpikeRaster

Frame = NDArray[np.uint8]
MIN_FRAME_HEIGHT = 240  # smaller frames are magnified by a whole number, so that pixels stay square and sharp
MIN_RASTER_WIDTH = 240
SLOWEST, FASTEST = 0.01, 1000.0  # pictures a second; the frames of gifs last for less than eleven minutes


def has_display() -> bool:
    """Whether windows can be expected to open."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))


def drawing(make_env: MakeEnv) -> CheckedEnv:
    """An environment that draws pictures.

    Raises:
        UserError: if it does not.
    """
    # pygame would look for a sound card and a screen, and swallow the signal that is to end this process.
    for name, value in (("SDL_AUDIODRIVER", "dummy"), ("SDL_NO_SIGNAL_HANDLERS", "1")):
        os.environ.setdefault(name, value)
    if not has_display():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():  # Gymnasium's, which the error below makes plain
        warnings.filterwarnings("ignore", message=".*not in the possible render_modes")
        env = checked(make_env())
    offered = render_modes(env)
    if env.render_mode == "rgb_array" and "rgb_array" in offered:
        return env
    env.close()
    if "rgb_array" not in offered:
        modes = ", ".join(map(str, offered)) or "none"
        raise UserError(f"the environment draws no pictures (its render modes: {modes})", "choose one with 'rgb_array'")
    problem = f"the environment renders as {env.render_mode!r}, pictures need 'rgb_array'"
    raise UserError(problem, "make it with gymnasium.make(..., render_mode='rgb_array')")


def render_modes(env: gymnasium.Env[Any, Any]) -> Collection[Any]:
    """Those that an environment names; none where it names them in no list."""
    named = env.metadata.get("render_modes")
    return named if isinstance(named, (list, tuple, set, frozenset)) else ()


def frames_per_second(env: CheckedEnv) -> float:
    """Environment steps per second at which it is to be looked at.

    Raises:
        UserError: for what is no such number.
    """
    named = env.metadata.get("render_fps")
    return 30.0 if named is None else require_rate(named, "the environment's render_fps")


def require_rate(rate: Any, name: str) -> float:
    """A number of pictures a second that films can have.

    Raises:
        UserError: for another one.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not SLOWEST <= rate <= FASTEST:
        raise UserError(f"{name} is {rate!r:.40}", f"choose a number from {SLOWEST:g} to {FASTEST:g}")
    return float(rate)


class PlayedEpisode:
    """Plays one greedy episode while its frames are consumed, so that a long film never lies in memory.

    If ``policy.last_spikes`` is set after ``act`` (one array ``[K, N]`` per spiking layer, for the observation just
    seen), a raster scrolls beside the frame: the newest column belongs to the observation that the frame shows.
    Of a deep network the first layers are drawn, as many as fit.

    Args:
        policy: acts with ``deterministic=True`` on a batch of one.
        env: of :func:`drawing`.
        seed: of the episode.
        max_env_steps: where to cut a longer episode.
    """

    def __init__(self, policy: BatchPolicy, env: CheckedEnv, seed: int, max_env_steps: int) -> None:
        self._policy, self._env, self._seed, self._max_env_steps = policy, env, seed, max_env_steps
        self._raster: SpikeRaster | None = None
        self.episode_return, self.env_steps, self.ended = 0.0, 0, False

    def frames(self) -> Iterator[Frame]:
        """Yield one frame per observation, the last one included; all have the same even size."""
        observation, _ = self._env.reset(seed=self._seed)
        state = self._policy.initial_state(1)
        while not self.ended and self.env_steps < self._max_env_steps:
            frame = _magnify(_render(self._env))
            actions, state = self._policy.act(np.asarray(observation)[None], state, deterministic=True)
            self._push_spikes(frame.shape[0], frame.shape[1])
            yield self._compose(frame)
            observation, reward, terminated, truncated, _ = self._env.step(actions[0])
            self.episode_return += reward
            self.env_steps += 1
            self.ended = terminated or truncated
        yield self._compose(_magnify(_render(self._env)))

    def _push_spikes(self, height: int, width: int) -> None:
        spikes = getattr(self._policy, "last_spikes", None)
        if spikes is None or len(spikes) == 0:
            return
        layers = [np.asarray(layer) for layer in spikes[: height // MIN_BAND_PIXELS]]
        if self._raster is None:
            sizes = [layer[0].size for layer in layers]
            column_pixels = 2 if len(layers[0]) <= 8 else 1
            self._raster = SpikeRaster(sizes, height, max(MIN_RASTER_WIDTH, width // 2), column_pixels)
        self._raster.push(layers)

    def _compose(self, frame: Frame) -> Frame:
        """Put the raster beside the frame and repeat the last row or column where a size is odd."""
        if self._raster is not None:
            frame = np.concatenate([frame, self._raster.picture], axis=1)
        return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def _render(env: gymnasium.Env[Any, Any]) -> Frame:
    try:
        frame: Any = env.render()
    except RAISED as error:
        raise UserError(f"the environment cannot render: {reason_of(error)}", "install what it needs") from error
    is_picture = isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
    if not is_picture or frame.dtype != np.uint8:
        what = f"{frame.dtype}{list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(
            f"the environment's render() gave {what} instead of an RGB picture",
            "render() must return a uint8 array [height, width, 3]",
        )
    return frame


def _magnify(frame: Frame) -> Frame:
    factor = -(-MIN_FRAME_HEIGHT // frame.shape[0])
    return frame if factor <= 1 else frame.repeat(factor, axis=0).repeat(factor, axis=1)
