import gymnasium as gym
import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from synrl_ray.errors import UserError
from synrl_ray.evaluation.spike_raster import LAYER_COLORS, SpikeRaster
from synrl_ray.evaluation.video import record_episode


class BrightnessEnv(gym.Env):
    """Four steps of reward 2; the frame is as bright as the time: 0, 50, 100, 150, 200. Its size is odd."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    size = (241, 121)

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.now = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.now += 1
        return np.full(1, self.now, np.float32), 2.0, self.now == 4, False, {}

    def render(self):
        return np.full((*self.size, 3), 50 * self.now, np.uint8)


class Zero:
    last_spikes = None

    def initial_state(self, batch):
        return np.zeros((batch, 0))

    def act(self, observations, state, *, deterministic=True):
        assert deterministic
        return np.zeros(len(observations), dtype=np.int64), state


class AlwaysSpiking(Zero):
    def act(self, observations, state, *, deterministic=True):
        self.last_spikes = [np.ones((3, 4))]
        return super().act(observations, state)


def gif_frames(path):
    with Image.open(path) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
        return np.stack(frames), image.info["duration"]


def test_gif_shows_every_observation_once(tmp_path):
    recording = record_episode(Zero(), BrightnessEnv, tmp_path / "e.gif", seed=0)
    frames, milliseconds = gif_frames(tmp_path / "e.gif")
    assert frames.shape == (5, 242, 122, 3)  # padded to even sizes
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [0, 50, 100, 150, 200], atol=1)
    assert milliseconds == 100  # the environment's ten frames a second
    assert (recording.episode_return, recording.env_steps, recording.fps) == (8.0, 4, 10.0)
    assert [file.name for file in tmp_path.iterdir()] == ["e.gif"]


def test_mp4_is_h264_in_yuv420p(tmp_path):
    path = tmp_path / "e.mp4"
    record_episode(Zero(), BrightnessEnv, path, seed=0, fps=25)
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    reader.close()
    assert (meta["codec"], meta["pix_fmt"].split("(")[0], meta["fps"]) == ("h264", "yuv420p", 25.0)
    frames = iio.imread(path)
    assert frames.shape == (5, 242, 122, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [0, 50, 100, 150, 200], atol=4)


def test_gif_speed_is_one_that_browsers_keep(tmp_path):
    recording = record_episode(Zero(), BrightnessEnv, tmp_path / "e.gif", seed=0, fps=60)
    assert (recording.fps, gif_frames(tmp_path / "e.gif")[1]) == (50.0, 20)


def test_small_frames_are_magnified_by_a_whole_number(tmp_path):
    class SmallEnv(BrightnessEnv):
        size = (50, 30)

    record_episode(Zero(), SmallEnv, tmp_path / "e.gif", seed=0)
    assert gif_frames(tmp_path / "e.gif")[0].shape[1:3] == (250, 150)


def test_long_episodes_are_cut(tmp_path):
    recording = record_episode(Zero(), BrightnessEnv, tmp_path / "e.gif", seed=0, max_env_steps=2)
    assert (recording.env_steps, len(gif_frames(tmp_path / "e.gif")[0])) == (2, 3)
    assert recording.is_cut
    assert not record_episode(Zero(), BrightnessEnv, tmp_path / "e.gif", seed=0, max_env_steps=4).is_cut


def test_spikes_scroll_in_beside_the_frame(tmp_path):
    record_episode(AlwaysSpiking(), BrightnessEnv, tmp_path / "e.gif", seed=0)
    frames, _ = gif_frames(tmp_path / "e.gif")
    assert frames.shape[1:3] == (242, 121 + 240 + 1)
    blue = np.abs(frames.astype(int) - LAYER_COLORS[0]).max(axis=-1) < 30
    assert not blue[:, :, :121].any()
    # Three simulation steps of two pixels an observation, four observations; the last frame has none of its own.
    assert blue[:, 100].sum(axis=1).tolist() == [6, 12, 18, 24, 24]


def test_raster_by_hand():
    raster = SpikeRaster([2, 1], height=80, width=14, column_pixels=1)
    raster.push([np.array([[1, 0], [0, 1]]), np.array([[0], [1]])])
    first, second = raster.picture[58:76, 4:10], raster.picture[18:36, 4:10]
    is_blue, is_orange = (first == LAYER_COLORS[0]).all(axis=-1), (second == LAYER_COLORS[1]).all(axis=-1)
    # Lower layer: neuron 0 (bottom) fired in the last but one column, neuron 1 (top) in the last.
    assert is_blue[0].tolist() == [False] * 5 + [True]
    assert is_blue[-1].tolist() == [False] * 4 + [True, False]
    assert is_orange[5].tolist() == [False] * 5 + [True]
    raster.push([np.zeros((1, 2)), np.zeros((1, 1))])
    assert (raster.picture[75, 4:10] == LAYER_COLORS[0]).all(axis=-1).tolist() == [False] * 3 + [True, False, False]


def test_raster_shows_evenly_spaced_neurons_of_a_large_layer():
    raster = SpikeRaster([1000], height=72, width=30)  # 50 rows are left: every twentieth neuron
    spikes = np.zeros((1, 1000))
    spikes[0, 40] = spikes[0, 41] = 1  # neuron 40 is shown in row 2 from below, neuron 41 is not
    raster.push([spikes])
    is_blue = (raster.picture[:, 25] == LAYER_COLORS[0]).all(axis=-1)
    assert np.flatnonzero(is_blue).tolist() == [72 - 4 - 1 - 2]


def test_raster_keeps_the_newest_of_more_columns_than_fit():
    raster = SpikeRaster([1], height=40, width=18, column_pixels=1)
    raster.push([np.arange(100)[:, None] >= 98])
    assert (raster.picture[30, 4:14] == LAYER_COLORS[0]).all(axis=-1).tolist() == [False] * 8 + [True] * 2


def test_raster_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="9 layers do not fit into 240 pixels"):
        SpikeRaster([4] * 9, height=240, width=100)
    with pytest.raises(ValueError, match="layers with neurons"):
        SpikeRaster([], height=240, width=100)
    with pytest.raises(ValueError, match=r"made for layers of \(4,\) neurons, got \(5,\)"):
        SpikeRaster([4], height=240, width=100).push([np.zeros((1, 5))])


@pytest.mark.parametrize("name", ["e.avi", "e"])
def test_other_suffixes_are_refused_before_an_environment_is_made(tmp_path, name):
    with pytest.raises(UserError, match=r"cannot write a video as 'e.*\.mp4 or \.gif"):
        record_episode(Zero(), lambda: pytest.fail("made"), tmp_path / name, seed=0)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "e.gif"
    with pytest.raises(UserError) as caught:
        record_episode(Zero(), BrightnessEnv, path, seed=0)
    assert str(caught.value) == f"{path} cannot be written (File exists) — choose another place for the video"


def test_environments_that_do_not_render_are_named(tmp_path):
    class NoFrames(BrightnessEnv):
        def render(self):
            return None

    class NeedsPackage(BrightnessEnv):
        def render(self):
            raise gym.error.DependencyNotInstalled("pygame is not installed")

    class Growing(BrightnessEnv):
        def render(self):
            return np.zeros((300 + 2 * self.now, 100, 3), np.uint8)

    class Leaving(BrightnessEnv):
        def render(self):
            raise SystemExit("no display")

    class Column(BrightnessEnv):
        def step(self, action):
            return np.zeros((1, 1), np.float32), 2.0, False, False, {}

    path = tmp_path / "e.gif"
    for make_env, message in (
        (lambda: BrightnessEnv(render_mode=None), "renders as None.*render_mode='rgb_array'"),
        (NoFrames, "gave NoneType instead of an RGB picture"),
        (NeedsPackage, "cannot render: pygame is not installed"),
        (Growing, "frame size changed"),
        (Leaving, "cannot render: no display"),
        (Column, r"environment 'Column' failed: step\(\) returned an observation of shape \(1, 1\)"),
    ):
        with pytest.raises(UserError, match=message):
            record_episode(Zero(), make_env, path, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -5, 1e-9, 1e9, float("nan"), float("inf"), "fast", [30], True])
@pytest.mark.parametrize("name", ["e.gif", "e.mp4"])
def test_pictures_a_second_are_a_number_that_films_can_have(tmp_path, monkeypatch, fps, name):
    with pytest.raises(UserError, match=r"^fps is .* — choose a number from 0.01 to 1000"):
        record_episode(Zero(), BrightnessEnv, tmp_path / name, seed=0, fps=fps)
    monkeypatch.setitem(BrightnessEnv.metadata, "render_fps", fps)
    with pytest.raises(UserError, match=r"^the environment's render_fps is .* — choose a number"):
        record_episode(Zero(), BrightnessEnv, tmp_path / name, seed=0)


@pytest.mark.parametrize("modes", [None, 5, "rgb_array"])
def test_render_modes_in_no_list_are_none(tmp_path, monkeypatch, modes):
    monkeypatch.setitem(BrightnessEnv.metadata, "render_modes", modes)
    with pytest.raises(UserError, match=r"draws no pictures \(its render modes: none\)"):
        record_episode(Zero(), BrightnessEnv, tmp_path / "e.gif", seed=0)


@pytest.mark.parametrize("size", [(0, 64), (64, 0)])
def test_an_empty_picture_is_named(tmp_path, monkeypatch, size):
    monkeypatch.setattr(BrightnessEnv, "size", size)
    with pytest.raises(UserError, match=r"render\(\) gave uint8\[.*\] instead of an RGB picture"):
        record_episode(Zero(), BrightnessEnv, tmp_path / "e.mp4", seed=0)


def test_pictures_that_no_film_can_have_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(BrightnessEnv, "size", (20_000, 2))
    with pytest.raises(UserError, match=r"ffmpeg makes no film of pictures of 2 x 20000 \("):
        record_episode(Zero(), BrightnessEnv, tmp_path / "e.mp4", seed=0)
    assert list(tmp_path.iterdir()) == []
