"""MNIST from four tiny hand-made files; the table of checksums is theirs, and the network is never there."""

import gzip
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest

from synrl_ray.data import mnist
from synrl_ray.data.location import md5
from synrl_ray.data.mnist import load_mnist
from synrl_ray.errors import UserError

LABELS = {"train": [3, 0, 7, 0, 9], "t10k": [7, 7, 3]}


def images_of(part):
    """Every image has one brightness: 10 times its label, plus its place."""
    return np.stack([np.full((28, 28), 10 * label + place, np.uint8) for place, label in enumerate(LABELS[part])])


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The four files, and no network."""

    def offline(*arguments, **options):
        raise urllib.error.URLError("no network in tests")

    checksums = {}
    for part, labels in LABELS.items():
        for name, array in (
            (f"{part}-images-idx3-ubyte", images_of(part)),
            (f"{part}-labels-idx1-ubyte", np.array(labels, np.uint8)),
        ):
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            checksums[name] = md5(idx(array))
    monkeypatch.setattr(mnist, "_FILES", checksums)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return tmp_path


def error_line(folder, digits=(0, 1)):
    with pytest.raises(UserError) as caught:
        load_mnist(digits, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def brightness(data):
    assert (data.images == data.images[:, :1, :1]).all()
    return data.images[:, 0, 0].tolist()


def test_all_digits_keep_every_image_and_its_label(folder):
    training, test = load_mnist(folder=folder)
    assert (len(training), len(test)) == (5, 3)
    assert (training.images.shape, training.images.dtype) == ((5, 28, 28), np.uint8)
    assert (training.labels.tolist(), test.labels.tolist()) == (LABELS["train"], LABELS["t10k"])
    assert training.labels.dtype == np.int64
    assert (brightness(training), brightness(test)) == ([30, 1, 72, 3, 94], [70, 71, 32])


def test_chosen_digits_are_relabelled_in_the_order_in_which_they_are_named(folder):
    training, test = load_mnist((7, 0), folder)
    assert (training.labels.tolist(), brightness(training)) == ([1, 0, 1], [1, 72, 3])
    assert (test.labels.tolist(), brightness(test)) == ([0, 0], [70, 71])
    training, test = load_mnist((0, 3, 7), folder)
    assert (training.labels.tolist(), brightness(training)) == ([1, 0, 2, 0], [30, 1, 72, 3])
    assert (test.labels.tolist(), brightness(test)) == ([2, 2, 1], [70, 71, 32])


def test_order_may_be_a_list(folder):
    assert load_mnist([9, 3], folder)[0].labels.tolist() == [1, 0]


@pytest.mark.parametrize("digits", [(), (3,), (0, 0), (0, 1, 0), (0, 10), (-1, 3)])
def test_digits_that_cannot_be_told_apart_are_named_before_any_file_is_read(tmp_path, digits):
    line = error_line(tmp_path / "nowhere", digits)
    assert line == f"digits {digits} cannot be told apart — name at least two different ones of 0 to 9"


def test_files_lie_in_the_folder_mnist_of_the_data_folder(folder, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    folder_of_data = tmp_path / "data" / "mnist"
    folder_of_data.mkdir()
    for file in folder.glob("*.gz"):
        file.rename(folder_of_data / file.name)
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path / "data"))
    assert len(load_mnist()[0]) == 5


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_missing_file_offline_is_named_with_reason_and_remedy(folder, name):
    path = folder / f"{name}.gz"
    path.unlink()
    assert error_line(folder) == (
        f"data file {path} is not there and cannot be fetched (no network in tests) — "
        "set SYNRL_DATA to a folder that has it, or connect to the internet"
    )
    assert not path.exists()


def test_missing_file_is_fetched_from_its_address_and_stored(folder, monkeypatch):
    path, asked = folder / "train-labels-idx1-ubyte.gz", []
    content = path.read_bytes()
    path.unlink()

    class Response:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def read(self, most=-1):
            return content

    def serve(url, timeout):
        asked.append(url)
        return Response()

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    assert load_mnist(folder=folder)[0].labels.tolist() == LABELS["train"]
    assert [url.rpartition("/")[2] for url in asked] == [path.name]
    assert path.read_bytes() == content


def change_a_label(content):
    return gzip.compress(gzip.decompress(content)[:-1] + b"\x01")


def name_a_block_type_that_does_not_exist(content):
    return content[:10] + b"\x07" + content[11:]  # the first byte after gzip's header of ten


@pytest.mark.parametrize(
    "damage",
    [
        change_a_label,
        name_a_block_type_that_does_not_exist,
        lambda content: content[:-9],
        lambda content: b"",
        lambda content: b"<html>not found</html>",
        lambda content: content[:-8] + bytes(8),
    ],
    ids=["another label", "block type", "truncated", "empty", "no gzip", "gzip checksum"],
)
def test_damaged_file_is_named_and_left_alone(folder, damage):
    path = folder / "train-labels-idx1-ubyte.gz"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    expected = f"data file {path} is damaged (wrong checksum) — delete it, so that it is fetched again"
    assert error_line(folder) == expected
    assert path.read_bytes() == damaged


def test_another_gzip_wrapper_of_the_same_content_is_accepted(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    before = path.read_bytes()
    path.write_bytes(gzip.compress(gzip.decompress(before), compresslevel=0, mtime=1))
    assert path.read_bytes() != before
    assert load_mnist(folder=folder)[0].labels.tolist() == LABELS["train"]
