"""Record one greedy episode as mp4 or gif, beside the policy's spikes where it shows them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from synrl_ray.errors import UserError, reason_of
from synrl_ray.evaluation.episodes import BatchPolicy, MakeEnv
from synrl_ray.evaluation.playing import Frame, PlayedEpisode, drawing, frames_per_second, require_rate
from synrl_ray.files import write_atomically

SUFFIXES = (".mp4", ".gif")
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

    A raster of the policy's spikes scrolls beside it, see :class:`~synrl_ray.evaluation.playing.PlayedEpisode`.

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
    if fps is not None:
        fps = require_rate(fps, "fps")
    env = drawing(make_env)
    try:
        speed = fps or frames_per_second(env)
        episode = PlayedEpisode(policy, env, seed, max_env_steps)
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
            with closing(writer):
                for frame in chain([first], frames):
                    writer.send(np.ascontiguousarray(frame))
            content = film.read_bytes()
            if not content:  # the encoder gave up when all pictures were in its pipe
                raise OSError("it has written nothing")
            return content
        except OSError as error:
            height, width = first.shape[:2]
            problem = f"ffmpeg makes no film of pictures of {width} x {height} ({reason_of(error)})"
            raise UserError(problem, "look at the space for temporary files, or record a .gif") from error


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
