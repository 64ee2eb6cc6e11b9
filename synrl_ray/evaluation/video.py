"""Record one greedy episode as mp4 or gif, beside the policy's spikes where it shows them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from synrl_ray.envs.checked import RAISED, CheckedEnv, checked
from synrl_ray.errors import UserError, reason_of
from synrl_ray.evaluation.episodes import BatchPolicy, MakeEnv
from synrl_ray.evaluation.spike_raster import MIN_BAND_PIXELS, SpikeRaster
from synrl_ray.files import write_atomically

Frame = NDArray[np.uint8]
SUFFIXES = (".mp4", ".gif")
MIN_FRAME_HEIGHT = 240  # smaller frames are magnified by a whole number, so that pixels stay square and sharp
MIN_RASTER_WIDTH = 240
GIF_MIN_MILLISECONDS = 20  # browsers slow gifs with shorter frames down to ten frames a second


@dataclass(frozen=True)
class Recording:
    """What was recorded.

    Attributes:
        path: the file.
        episode_return: undiscounted, reward units.
        env_steps: length of the episode, or of the part of it that was recorded.
        fps: frames (environment steps) per second of the file.
        is_cut: whether the episode had not ended there.
    """

    path: Path
    episode_return: float
    env_steps: int
    fps: float
    is_cut: bool


def record_episode(
    policy: BatchPolicy,
    make_env: MakeEnv,
    path: Path,
    *,
    seed: int,
    fps: float | None = None,
    max_env_steps: int = 10_000,
) -> Recording:
    """Play one greedy episode and write it as a film; the file appears whole or not at all.

    If ``policy.last_spikes`` is set after ``act`` (one array ``[K, N]`` per spiking layer, for the observation just
    seen), a raster scrolls beside the frame: the newest column belongs to the observation that the frame shows.
    Of a deep network the first layers are drawn, as many as fit.

    Args:
        policy: acts with ``deterministic=True`` on a batch of one.
        make_env: makes an environment with ``render_mode="rgb_array"``.
        path: ``.mp4`` (H.264, yuv420p) or ``.gif``.
        seed: of the episode.
        fps: environment steps per second; the environment's own ``render_fps`` (or 30) by default. A gif has at
            most 50, in whole hundredths of a second.
        max_env_steps: where to cut a longer episode.
    Returns:
        What was recorded.
    Raises:
        UserError: for another suffix, an fps that is not positive, an environment that fails or gives no RGB frames,
            a missing ffmpeg, or a file that cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"cannot write a video as {path.name!r}", f"name a file that ends in {' or '.join(SUFFIXES)}")
    if fps is not None and not fps > 0:
        raise UserError(f"fps must be positive, got {fps}", "leave it out for the environment's own")
    env = checked(make_env())
    try:
        if env.render_mode != "rgb_array":
            raise UserError(
                f"the environment renders as {env.render_mode!r}, a video needs 'rgb_array'",
                "make it with gymnasium.make(..., render_mode='rgb_array'), if it offers that",
            )
        speed = float(fps or env.metadata.get("render_fps") or 30)
        episode = _Episode(policy, env, seed, max_env_steps)
        if path.suffix.lower() == ".gif":
            content, speed = _encode_gif(episode.frames(), speed)
        else:
            content = _encode_mp4(episode.frames(), speed)
    finally:
        env.close()
    try:
        write_atomically(path, content)
    except OSError as error:
        problem = f"{path} cannot be written ({error.strerror or reason_of(error)})"
        raise UserError(problem, "choose another place for the video") from error
    return Recording(path, episode.episode_return, episode.env_steps, speed, not episode.ended)


class _Episode:
    """Plays one episode while its frames are consumed, so that a long film never lies in memory."""

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
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        what = f"{frame.dtype}{list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise UserError(
            f"the environment's render() gave {what} instead of an RGB picture",
            "render() must return a uint8 array [height, width, 3]",
        )
    return frame


def _magnify(frame: Frame) -> Frame:
    factor = -(-MIN_FRAME_HEIGHT // frame.shape[0])
    return frame if factor <= 1 else frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _same_size(frames: Iterator[Frame]) -> Iterator[Frame]:
    first = next(frames)
    yield first
    for frame in frames:
        if frame.shape != first.shape:
            raise UserError(f"the frame size changed from {first.shape[:2]} to {frame.shape[:2]}", "render at one size")
        yield frame


def _encode_mp4(frames: Iterator[Frame], fps: float) -> bytes:
    import imageio_ffmpeg  # type: ignore[import-untyped]

    frames = _same_size(frames)
    first = next(frames)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        try:
            writer = imageio_ffmpeg.write_frames(
                str(film),
                (first.shape[1], first.shape[0]),
                fps=fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-movflags", "+faststart"],
            )
            writer.send(None)
        except (RuntimeError, OSError) as error:
            problem = f"ffmpeg does not start: {reason_of(error)}"
            raise UserError(problem, "install imageio[ffmpeg], or record a .gif") from error
        try:
            for frame in chain([first], frames):
                writer.send(np.ascontiguousarray(frame))
        finally:
            writer.close()
        return film.read_bytes()


def _encode_gif(frames: Iterator[Frame], fps: float) -> tuple[bytes, float]:
    """Encode at the nearest frame duration that gifs can have; return it too, as frames per second."""
    from PIL import Image

    milliseconds = max(GIF_MIN_MILLISECONDS, round(100 / fps) * 10)
    # An octree palette is four times faster than Pillow's default and, undithered, keeps flat areas flat.
    images = (
        Image.fromarray(frame).quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for frame in _same_size(frames)
    )
    buffer = io.BytesIO()
    next(images).save(buffer, "GIF", save_all=True, append_images=images, duration=milliseconds, loop=0)
    return buffer.getvalue(), 1000 / milliseconds
