"""The authors' own small sets, where they are at hand; they are never fetched for a test."""

import numpy as np
import pytest
from data_at_hand import folder_with

from synrl_ray.data import omniglot
from synrl_ray.data.omniglot import load_omniglot


@pytest.fixture(scope="module")
def folder():
    return folder_with("omniglot") / "omniglot"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(folder, cache):
    return load_omniglot("omniglot-small", folder, cache)


def test_there_are_242_characters_of_8_alphabets_by_20_drawers(data):
    assert data.name == "omniglot-small"
    assert data.images.shape == (242, 20, 28, 28)
    counts = {name: sum(c.startswith(f"{name}/") for c in data.characters) for name in data.alphabets}
    assert counts == {
        "Balinese": 24,
        "Early_Aramaic": 22,
        "Greek": 24,
        "Japanese_(katakana)": 47,
        "Korean": 40,
        "Latin": 26,
        "Sanskrit": 42,
        "Tagalog": 17,
    }
    assert len(set(data.characters)) == 242


def test_no_two_drawings_are_the_same(data):
    assert len(np.unique(data.images.reshape(4840, -1), axis=0)) == 4840


def test_ink_is_bright_and_rare(data):
    assert (data.images.min(), data.images.max()) == (0, 255)
    ink = data.images.mean(axis=(1, 2, 3)) / 255
    assert 0.02 < ink.min() < ink.max() < 0.2
    borders = np.concatenate([data.images[..., 0, :], data.images[..., -1, :]]).mean() / 255
    assert borders < 0.01


def test_a_character_resembles_itself_more_than_another_one(data):
    """Of mean drawings of ten drawers, blurred to 7 x 7, 72 % are nearest to that of ten others; chance is 0.4 %."""
    blurred = data.images.reshape(242, 20, 7, 4, 7, 4).mean(axis=(3, 5)).reshape(242, 20, 49)
    one, other = blurred[:, :10].mean(axis=1), blurred[:, 10:].mean(axis=1)
    nearest = ((one[:, None] - other[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(242)).mean() > 0.6


def test_second_reading_gives_the_same_without_decoding(data, folder, cache, monkeypatch):
    monkeypatch.setattr(omniglot, "read_drawing", None)
    again = load_omniglot("omniglot-small", folder, cache)
    assert (again.images == data.images).all()
    assert again.characters == data.characters
