"""The 20 official runs, from an archive made here: brightness says which run, which class and which item it is."""

import io
import zipfile

import cv2
import numpy as np
import pytest

from synrl_ray.data.omniglot_runs import official_runs
from synrl_ray.errors import UserError


def png(brightness):
    return cv2.imencode(".png", np.full((105, 105), 255 - brightness, np.uint8))[1].tobytes()


def class_of(run, item):
    """A permutation of the classes in each run."""
    return (7 * item + run) % 20 + 1


def files_of_runs():
    files = {}
    for run in range(1, 21):
        lines = []
        for number in range(1, 21):
            files[f"run{run:02d}/training/class{number:02d}.png"] = png(10 * run + number)
            files[f"run{run:02d}/test/item{number:02d}.png"] = png(255 - 10 * run - number)
            item, answer = f"run{run:02d}/test/item{number:02d}.png", class_of(run, number)
            lines.append(f"{item} run{run:02d}/training/class{answer:02d}.png")
        files[f"run{run:02d}/class_labels.txt"] = "\n".join(lines) + "\n"
    return files


@pytest.fixture(scope="module")
def whole():
    return files_of_runs()


def write(folder, files, prefix=""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    (folder / "all_runs.zip").write_bytes(file.getvalue())


def error_line(folder):
    with pytest.raises(UserError) as caught:
        official_runs(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "all_runs/"])
def test_each_item_has_the_label_that_its_run_names(tmp_path, whole, prefix):
    write(tmp_path, whole, prefix)
    runs = official_runs(tmp_path)
    numbers = 10 * np.arange(1, 21)[:, None] + np.arange(1, 21)
    for images, brightness in ((runs.support, numbers), (runs.query, 255 - numbers)):
        assert (images.shape, images.dtype) == ((20, 20, 28, 28), np.uint8)
        assert (images == brightness[:, :, None, None]).all()
    assert runs.labels.dtype == np.int64
    assert runs.labels.tolist() == [[class_of(run, item) - 1 for item in range(1, 21)] for run in range(1, 21)]


def test_order_of_the_lines_and_their_ends_do_not_matter(tmp_path, whole):
    shuffled = dict(whole)
    lines = shuffled["run03/class_labels.txt"].splitlines()
    shuffled["run03/class_labels.txt"] = "\r\n".join(reversed(lines))
    write(tmp_path, shuffled)
    assert official_runs(tmp_path).labels[2].tolist() == [class_of(3, item) - 1 for item in range(1, 21)]


def test_archive_lies_in_the_folder_omniglot_of_the_data_folder(tmp_path, whole, monkeypatch):
    (tmp_path / "omniglot").mkdir()
    write(tmp_path / "omniglot", whole)
    monkeypatch.setenv("SYNRL_DATA", str(tmp_path))
    assert official_runs().labels.shape == (20, 20)


def test_missing_archive_is_named_with_its_address(tmp_path):
    assert error_line(tmp_path) == (
        f"data file {tmp_path / 'all_runs.zip'} is not there — fetch it from https://raw.githubusercontent.com/"
        "brendenlake/omniglot/master/python/one-shot-classification/all_runs.zip, "
        "or set SYNRL_DATA to a folder that has it"
    )


def test_folder_in_place_of_the_archive_is_named(tmp_path):
    (tmp_path / "all_runs.zip").mkdir()
    assert error_line(tmp_path).startswith(f"data file {tmp_path / 'all_runs.zip'} cannot be read (")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "File is not a zip file"),
        (lambda content: b"<html>not found</html>", "File is not a zip file"),
        (lambda content: content[:-100], "File is not a zip file"),
        (lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:], "Bad CRC-32"),
    ],
    ids=["empty", "no archive", "cut", "a bit"],
)
def test_damaged_archive_is_named_with_the_reason(tmp_path, whole, damage, reason):
    write(tmp_path, whole)
    path = tmp_path / "all_runs.zip"
    path.write_bytes(damage(path.read_bytes()))
    line = error_line(tmp_path)
    assert line.startswith(f"data file {path} is damaged ({reason}")
    assert ") — fetch it again from https://" in line


def drop(text):
    return "\n".join(text.splitlines()[1:])


def repeat(text):
    lines = text.splitlines()
    return "\n".join([lines[1], *lines[1:]])


@pytest.mark.parametrize(
    "change",
    [
        drop,
        repeat,
        lambda text: text.replace("class05", "class21"),
        lambda text: text.replace(" ", ""),
        lambda text: "",
    ],
    ids=["line missing", "item twice", "no such class", "no pairs", "empty"],
)
def test_labels_that_do_not_fit_are_named(tmp_path, whole, change):
    write(tmp_path, whole | {"run07/class_labels.txt": change(whole["run07/class_labels.txt"])})
    assert "(run07/class_labels.txt does not name one of 20 classes for each of 20 items)" in error_line(tmp_path)


def test_labels_that_are_no_text_are_named(tmp_path, whole):
    write(tmp_path, whole | {"run07/class_labels.txt": b"\xff" * 100})
    assert "(run07/class_labels.txt does not name" in error_line(tmp_path)


@pytest.mark.parametrize("name", ["run20/class_labels.txt", "run05/training/class20.png", "run09/test/item01.png"])
def test_file_missing_in_the_archive_is_named(tmp_path, whole, name):
    write(tmp_path, {other: content for other, content in whole.items() if other != name})
    assert name in error_line(tmp_path)


def test_archive_of_something_else_is_named(tmp_path):
    write(tmp_path, {"readme.txt": "no runs"})
    assert "(there is no run01/class_labels.txt in it)" in error_line(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_file_that_is_no_image_is_named(tmp_path, whole, content):
    write(tmp_path, whole | {"run05/training/class20.png": content})
    assert "(run05/training/class20.png is no image)" in error_line(tmp_path)
