"""Omniglot from tiny hand-made archives; the table of checksums is theirs, and the network is never there."""

import io
import logging
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from synrl_ray.data import omniglot
from synrl_ray.data.location import md5
from synrl_ray.data.omniglot import load_omniglot
from synrl_ray.errors import UserError

SMALL = {
    "images_background_small1.zip": {"Latin": 2, "Greek": 1},
    "images_background_small2.zip": {"Latin": 2, "Tagalog": 1},
}
FULL = {"images_background.zip": {"Latin": 2, "Greek": 1}, "images_evaluation.zip": {"Tengwar": 2}}


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def drawing(alphabet, character, drawer):
    """105 x 105, ink where a block of 15 x 15 says so in binary: alphabet, character, drawer."""
    code = f"{ord(alphabet[0]):07b}{character:07b}{drawer:07b}"
    blocks = np.zeros((7, 7), np.uint8)
    blocks[:3] = np.array([int(bit) for bit in code]).reshape(3, 7)
    return 255 - 255 * np.kron(blocks, np.ones((15, 15), np.uint8))


def archive_of(name, alphabets):
    """With entries for folders, as the authors' archives have them."""
    file, folder = io.BytesIO(), name.removesuffix(".zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for alphabet, characters in alphabets.items():
            archive.writestr(f"{folder}/{alphabet}/", "")
            for character in range(1, characters + 1):
                for drawer in range(20, 0, -1):
                    path = f"{folder}/{alphabet}/character{character:02d}/{character:04d}_{drawer:02d}.png"
                    archive.writestr(path, png(drawing(alphabet, character, drawer)))
    return file.getvalue()


@pytest.fixture(scope="module")
def archives():
    return {name: archive_of(name, alphabets) for name, alphabets in (SMALL | FULL).items()}


@pytest.fixture
def folder(tmp_path, monkeypatch, archives):
    """The two small archives, and no network."""

    def offline(*arguments, **options):
        raise urllib.error.URLError("no network in tests")

    sets = {
        "omniglot": {name: md5(archives[name]) for name in FULL},
        "omniglot-small": {name: md5(archives[name]) for name in SMALL},
        "omniglot-background": {name: md5(archives[name]) for name in list(FULL)[:1]},
    }
    monkeypatch.setattr(omniglot, "_SETS", sets)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "archives"
    folder.mkdir()
    for name in SMALL:
        (folder / name).write_bytes(archives[name])
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def no_decoding(monkeypatch):
    def decode(*arguments):
        raise AssertionError("decoded anew")

    return lambda: monkeypatch.setattr(omniglot, "read_drawing", decode)


def error_line(*arguments):
    with pytest.raises(UserError) as caught:
        load_omniglot(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cached_file(cache):
    (file,) = cache.iterdir()
    return file


def test_alphabets_in_both_small_archives_count_once(folder, cache):
    data = load_omniglot(folder=folder, cache=cache)
    assert data.name == "omniglot-small"
    assert data.characters == ("Greek/character01", "Latin/character01", "Latin/character02", "Tagalog/character01")
    assert data.alphabets == ("Greek", "Latin", "Tagalog")
    assert (len(data), data.images.shape, data.images.dtype) == (4, (4, 20, 28, 28), np.uint8)


def test_drawings_stand_in_the_order_of_characters_and_drawers_inverted_and_shrunk(folder, cache):
    images = load_omniglot(folder=folder, cache=cache).images
    expected = [
        [255 - drawing(alphabet, character, drawer) for drawer in range(1, 21)]
        for alphabet, character in (("Greek", 1), ("Latin", 1), ("Latin", 2), ("Tagalog", 1))
    ]
    for row, drawings in zip(images, expected, strict=True):
        for image, large in zip(row, drawings, strict=True):
            # A block of 15 pixels becomes one of 4, so that nothing is blurred.
            assert (image == np.kron(large[::15, ::15], np.ones((4, 4), np.uint8))).all()


def test_pixels_are_averages_over_areas():
    """At the upper left a pixel covers 3.75 x 3.75 of the drawing, of which one line of 105 x 1 is ink."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[0] = 0
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", png(pixels))
    with zipfile.ZipFile(file) as archive:
        image = omniglot.read_drawing(archive, "a.png")
    assert image[0].tolist() == [round(255 / 3.75)] * 28
    assert image[1:].max() == 0


def test_second_time_the_decoded_images_are_read(folder, cache, no_decoding):
    first = load_omniglot(folder=folder, cache=cache)
    no_decoding()
    second = load_omniglot(folder=folder, cache=cache)
    assert (second.images == first.images).all()
    assert (second.name, second.characters) == (first.name, first.characters)
    assert second.images.dtype == np.uint8


def test_cache_lies_in_the_home_folder_and_the_archives_in_the_data_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    folder.rename(tmp_path / "data" / "omniglot")
    assert len(load_omniglot()) == 4
    file = cached_file(tmp_path / "home" / ".cache" / "synrl_ray" / "decoded")
    assert file.name.startswith("omniglot-small-28px-")
    assert sorted(path.name for path in (tmp_path / "data" / "omniglot").iterdir()) == sorted(SMALL)


def test_without_a_home_the_images_are_decoded_each_time(folder, monkeypatch, caplog):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for _ in range(2):
        assert len(load_omniglot(folder=folder)) == 4
    assert caplog.messages == ["you have no home folder on this machine: Omniglot is decoded anew at each start"] * 2


def test_other_archives_have_another_cache(folder, cache, archives, monkeypatch):
    load_omniglot(folder=folder, cache=cache)
    other = archive_of("images_background_small2.zip", {"Sanskrit": 1})
    (folder / "images_background_small2.zip").write_bytes(other)
    checksums = {**omniglot._SETS["omniglot-small"], "images_background_small2.zip": md5(other)}
    monkeypatch.setattr(omniglot, "_SETS", {**omniglot._SETS, "omniglot-small": checksums})
    assert load_omniglot(folder=folder, cache=cache).alphabets == ("Greek", "Latin", "Sanskrit")
    assert len(list(cache.iterdir())) == 2


def other_shape(content):
    file = io.BytesIO()
    np.savez(file, images=np.zeros((3, 20, 28, 28), np.uint8), characters=np.array(["a/b"] * 4))
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no archive",
        lambda content: content[:-7],
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        lambda content: content.replace(b"characters", b"charactars"),
        lambda content: content.replace(b"(4, 20, 28, 28)", b"(4, 20, 28, 29)"),
        other_shape,
    ],
    ids=["empty", "no archive", "cut", "half", "a bit", "a name", "a shape", "too few"],
)
def test_damaged_cache_is_made_anew(folder, cache, damage):
    first = load_omniglot(folder=folder, cache=cache)
    path = cached_file(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    again = load_omniglot(folder=folder, cache=cache)
    assert (again.images == first.images).all()
    assert again.characters == first.characters
    assert cached_file(cache).read_bytes() == whole


def test_cache_that_cannot_be_written_is_warned_of(folder, cache, caplog):
    cache.write_text("a file")
    with caplog.at_level(logging.WARNING):
        assert len(load_omniglot(folder=folder, cache=cache)) == 4
    assert "cannot be written" in caplog.text


def test_whole_set_is_preferred_where_it_is_at_hand(folder, cache, archives):
    for name in FULL:
        (folder / name).write_bytes(archives[name])
    whole = load_omniglot(folder=folder, cache=cache)
    assert (whole.name, whole.alphabets, len(whole)) == ("omniglot", ("Greek", "Latin", "Tengwar"), 5)
    assert load_omniglot("omniglot-small", folder, cache).name == "omniglot-small"
    assert len(list(cache.iterdir())) == 2


def test_half_of_the_whole_set_does_not_hide_a_complete_small_one(folder, cache, archives):
    (folder / "images_background.zip").write_bytes(archives["images_background.zip"])
    assert load_omniglot(folder=folder, cache=cache).name == "omniglot-small"
    assert f"data file {folder / 'images_evaluation.zip'} is not there" in error_line("omniglot", folder, cache)


@pytest.mark.parametrize("name", list(SMALL))
def test_missing_archive_is_named_with_reason_and_remedy_even_where_its_content_is_cached(folder, cache, name):
    load_omniglot(folder=folder, cache=cache)
    (folder / name).unlink()
    assert error_line(None, folder, cache) == (
        f"data file {folder / name} is not there and cannot be fetched (no network in tests) — "
        "set SYNRL_DATA to a folder that has it, or connect to the internet"
    )


def test_where_nothing_is_at_hand_the_whole_set_is_fetched(tmp_path, folder, cache, archives, monkeypatch):
    asked = []

    def serve(url, timeout):
        asked.append(url)
        return io.BytesIO(archives[url.rpartition("/")[2]])

    assert f"data file {tmp_path / 'new' / 'images_background.zip'} is not" in error_line(None, tmp_path / "new", cache)
    monkeypatch.setattr(urllib.request, "urlopen", serve)
    assert load_omniglot(folder=tmp_path / "new", cache=cache).name == "omniglot"
    prefix = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
    assert asked == [prefix + name for name in FULL]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(FULL)


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:-9], lambda content: b"<html>not found</html>"],
    ids=["empty", "cut", "no archive"],
)
def test_damaged_archive_is_named_and_left_alone(folder, cache, damage):
    path = folder / "images_background_small2.zip"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    expected = f"data file {path} is damaged (wrong checksum) — delete it, so that it is fetched again"
    assert error_line(None, folder, cache) == expected
    assert path.read_bytes() == damaged
    assert not cache.exists()


def test_set_that_does_not_exist_is_named():
    assert error_line("omniglot-tiny", Path("nowhere")) == (
        "there is no set 'omniglot-tiny' of Omniglot — choose one of omniglot, omniglot-small, omniglot-background"
    )
