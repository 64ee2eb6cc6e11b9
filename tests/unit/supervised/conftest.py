"""A tiny data set in the place of MNIST: a bar whose height on the image tells the class."""

import numpy as np
import pytest

from synrl_ray.data.mnist import LabelledImages
from synrl_ray.overrides import apply_overrides
from synrl_ray.registry import get_experiment
from synrl_ray.supervised import trainable

SMALL = ["batch_size=16", "epochs=3", "spiking.hidden_sizes=12", "ann.hidden_sizes=12", "lr=1e-2"]
NUM_TRAINING, NUM_TEST = 100, 20  # 5 of the former are held out


def bars(num_images, num_classes):
    noise = np.random.default_rng(num_images).integers(0, 40, (num_images, 28, 28), dtype=np.uint8)
    labels = np.arange(num_images) % num_classes
    for image, label in zip(noise, labels, strict=True):
        image[4 * label + 2 : 4 * label + 5, 4:24] += 200
    return LabelledImages(noise, labels.astype(np.int64))


@pytest.fixture
def make_trainable(tmp_path, monkeypatch):
    """Builds a trainable of the small experiment; settings as after ``--set``."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray_results"))
    monkeypatch.setattr(
        trainable, "load_mnist", lambda digits: tuple(bars(n, len(digits)) for n in (NUM_TRAINING, NUM_TEST))
    )

    def make(*settings, seed=0, policy="spiking"):
        experiment = apply_overrides(get_experiment("mnist-binary"), [*SMALL, *settings])
        return trainable.ClassifierTrainable({"experiment": experiment, "policy": policy, "seed": seed})

    return make
