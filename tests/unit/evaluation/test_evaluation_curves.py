import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from synrl_ray.evaluation.curves import Curve, EvaluationCurve, compact_number, interpolate_to_grid, learning_curve
from synrl_ray.evaluation.saving import save_figure


def rising(label="spiking", slope=1.0, num_points=11, evaluations=None):
    steps = np.linspace(0, 10_000, num_points)
    return Curve(label, steps, slope * steps / 100, evaluations)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def num_pixels_of(picture, hex_color):
    color = [int(hex_color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - color).max(axis=-1) < 40).sum())


def test_ticks_arecompact_number():
    values = [0, 950, 20_000, 1_500_000, -2_500, 0.1 + 0.2]
    assert [compact_number(value) for value in values] == ["0", "950", "20k", "1.5M", "-2.5k", "0.3"]


def test_grid_covers_the_common_steps_and_interpolates():
    first = Curve("a", [0.0, 10.0, 20.0], [0.0, 1.0, 2.0])
    second = Curve("a", [10.0, 30.0], [5.0, 9.0])
    grid_G, returns_SG = interpolate_to_grid([first, second])
    np.testing.assert_allclose(grid_G, [10, 15, 20])
    np.testing.assert_allclose(returns_SG, [[1.0, 1.5, 2.0], [5.0, 6.0, 7.0]])


def test_grid_points_average_the_returns_around_them():
    steps = np.arange(1000.0)
    grid_G, returns_SG = interpolate_to_grid([Curve("a", steps, steps % 2)])
    assert grid_G.shape == (100,)
    np.testing.assert_allclose(returns_SG[0], 0.5, atol=0.11)  # not 0 or 1


def test_grid_of_seeds_without_common_steps_is_empty():
    grid_G, returns_SG = interpolate_to_grid([Curve("a", [0.0, 1.0], [0, 0]), Curve("a", [5.0, 6.0], [0, 0])])
    assert grid_G.shape == (0,)
    assert returns_SG.shape == (2, 0)


def test_picture_has_the_promised_size_and_the_palettes_first_colour(tmp_path):
    path = tmp_path / "deep" / "curve.png"
    save_figure(learning_curve([rising()], title="CartPole-v1", target=80), path)
    picture = pixels(path)
    assert picture.shape == (750, 1200, 3)
    assert num_pixels_of(picture, "#0072B2") > 500
    assert [file.name for file in path.parent.iterdir()] == ["curve.png"]  # no temporary file is left


def test_target_line_is_drawn_only_when_there_is_a_target(tmp_path):
    save_figure(learning_curve([rising()], title="t", target=50), tmp_path / "with.png")
    save_figure(learning_curve([rising()], title="t", target=None), tmp_path / "without.png")
    grey = [num_pixels_of(pixels(tmp_path / name), "#444444") for name in ("with.png", "without.png")]
    assert grey[0] > grey[1] + 500


def test_labels_have_a_colour_each_and_evaluations_may_lie_outside_their_interval(tmp_path):
    evaluations = EvaluationCurve([5000.0], [60.0], [20.0], [40.0])  # an IQM interval need not hold the mean
    curves = [rising(slope=s) for s in (1.0, 1.2, 0.9)] + [rising("ann", 0.5, evaluations=evaluations)]
    save_figure(learning_curve(curves, title="t", target=None), tmp_path / "c.png")
    picture = pixels(tmp_path / "c.png")
    assert num_pixels_of(picture, "#0072B2") > 1000
    assert num_pixels_of(picture, "#D55E00") > 300


def test_missing_returns_and_wrong_order_do_not_matter(tmp_path):
    plain = Curve("a", [0, 10, 20], [1.0, 2.0, 3.0])
    shuffled = Curve("a", [20, 5, 10, 0], [3.0, np.nan, 2.0, 1.0])
    save_figure(learning_curve([plain], title="t", target=None), tmp_path / "plain.png")
    save_figure(learning_curve([shuffled], title="t", target=None), tmp_path / "shuffled.png")
    np.testing.assert_array_equal(pixels(tmp_path / "plain.png"), pixels(tmp_path / "shuffled.png"))


def test_evaluations_alone_and_a_single_point_can_be_drawn(tmp_path):
    alone = Curve("a", [], [], ([0.0, 10.0], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5]))
    for name, curves in (("alone.png", [alone]), ("point.png", [Curve("a", [5], [1.0])] * 2)):
        save_figure(learning_curve(curves, title="t", target=None), tmp_path / name)
        assert num_pixels_of(pixels(tmp_path / name), "#0072B2") > 20


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ([], "no curves"),
        ([Curve("a", [1.0], [np.nan])], "'a' has no finite return"),
        ([Curve("a", [1.0, 2.0], [1.0])], "'a'.*environment steps for"),
        ([Curve("a", [1.0], [1.0], ([1.0], [1.0], [1.0]))], "four equally long"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_the_old_file_stays(tmp_path, curves, message):
    path = tmp_path / "c.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        save_figure(learning_curve(curves, title="t", target=None), path)
    assert path.read_bytes() == b"old"


def test_settings_of_matplotlib_stay_as_they_were(tmp_path):
    before = dict(mpl.rcParams)
    save_figure(learning_curve([rising()], title="t", target=None), tmp_path / "c.png")
    assert dict(mpl.rcParams) == before


def test_import_is_light():
    code = (
        "import sys, synrl_ray.evaluation\n"
        "print([name for name in ('ray', 'torch', 'matplotlib', 'imageio_ffmpeg', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
