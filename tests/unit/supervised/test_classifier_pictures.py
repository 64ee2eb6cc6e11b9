import struct
import warnings

import numpy as np
import pytest
import torch

from synrl_ray.evaluation.confusion_figure import confusion_figure
from synrl_ray.evaluation.saving import save_figure
from synrl_ray.experiment import SpikingClassifier
from synrl_ray.kinds.classification.pictures import draw_activity
from synrl_ray.supervised.model import Classifier

DIGITS = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        yield


def png_size(path):
    """Width and height from the file's first chunk."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[12:16] == b"IHDR"
    assert len(content) > 5000
    return struct.unpack(">II", content[16:24])


def model_of(classes=(0, 1), gain=4.0, **options):
    torch.manual_seed(0)
    options = {"hidden_sizes": (60,), "channels": (2, 3), "steps_per_observation": 4, **options}
    model = Classifier(SpikingClassifier(**options), classes)
    with torch.no_grad():
        next(model.parameters()).mul_(gain)
    return model


@pytest.mark.parametrize("num_classes", [2, 10])
def test_confusion_is_drawn_for_two_classes_and_for_ten(tmp_path, num_classes):
    confusion = np.eye(num_classes, dtype=np.int64) * 90
    confusion[0, 1] = 7
    save_figure(confusion_figure(confusion, range(num_classes)), tmp_path / "c.png")
    assert png_size(tmp_path / "c.png") == (960, 840)  # 6.4 x 5.6 inches of 150 dots


def test_confusion_without_an_error_and_with_a_class_without_images_is_drawn(tmp_path):
    save_figure(confusion_figure(np.array([[5, 0, 0], [0, 0, 0], [0, 0, 5]]), (3, 5, 8)), tmp_path / "c.png")
    assert png_size(tmp_path / "c.png") == (960, 840)


@pytest.mark.parametrize("num_images", [1, 3])
def test_activity_is_a_row_for_each_image(tmp_path, num_images):
    draw_activity(model_of(), DIGITS[:num_images], tmp_path / "a.png")
    assert png_size(tmp_path / "a.png") == (1260, 330 * num_images)  # 8.4 x 2.2 inches of 150 dots


@pytest.mark.parametrize(
    ("options", "num_layers"), [({"hidden_sizes": (60, 30)}, 2), ({"architecture": "conv"}, 3)], ids=["mlp", "conv"]
)
def test_activity_has_a_raster_for_each_layer(tmp_path, options, num_layers):
    draw_activity(model_of(classes=tuple(range(10)), **options), DIGITS[:2], tmp_path / "a.png")
    width, height = png_size(tmp_path / "a.png")
    assert (width, height) == (pytest.approx(150 * (3.2 + 2.6 * (num_layers + 1)), abs=1), 660)


@pytest.mark.parametrize("options", [{}, {"architecture": "conv"}], ids=["mlp", "conv"])
def test_activity_without_any_spike_is_drawn(tmp_path, options):
    model = model_of(threshold=1e6, **options)
    assert all(layer.sum() == 0 for layer in model.activity(torch.from_numpy(DIGITS))[0])
    draw_activity(model, DIGITS[:2], tmp_path / "a.png")
    assert png_size(tmp_path / "a.png")[1] == 660


def test_activity_of_a_single_simulation_step_is_drawn(tmp_path):
    draw_activity(model_of(steps_per_observation=1), DIGITS[:1], tmp_path / "a.png")
    assert png_size(tmp_path / "a.png") == (1260, 330)


def test_pictures_are_written_whole_and_leave_no_other_file(tmp_path):
    draw_activity(model_of(), DIGITS[:1], tmp_path / "new" / "a.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
