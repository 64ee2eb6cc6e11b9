"""A few bytes of data that unpack to any size are refused before they fill the memory."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from synrl_ray.data import drawings, mnist
from synrl_ray.data.location import data_folder, read_data
from synrl_ray.data.omniglot import _read_cache
from synrl_ray.errors import UserError
from synrl_ray.files import home_folder

MANY = 2**28


def peak(call):
    """The most memory that a call takes, in bytes, and what it returns or raises."""
    tracemalloc.start()
    try:
        try:
            result = call()
        except Exception as error:
            result = error
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def zipped(content, name="picture.png"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return zipfile.ZipFile(buffer)


def picture(width, height):
    """A PNG that is whole but for its rows."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_gzip_bomb_is_unpacked_no_further_than_a_file_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("no network in tests"))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(MANY), 1))
    most, error = peak(lambda: mnist.load_mnist(folder=tmp_path))
    assert isinstance(error, UserError)
    assert "is damaged (wrong checksum)" in str(error)
    assert most < MANY


def test_a_zip_bomb_is_unpacked_no_further_than_a_drawing_is_large():
    archive = zipped(bytes(MANY))
    most, error = peak(lambda: drawings.read_drawing(archive, "picture.png"))
    assert "picture.png is larger than 1,048,576 bytes" in str(error)
    assert most < MANY / 8


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (30_000, 30_000), (0, 5), (1025, 3)])
def test_a_picture_bomb_is_not_decoded(size):
    most, error = peak(lambda: drawings.read_drawing(zipped(picture(*size)), "picture.png"))
    assert isinstance(error, ValueError)
    assert f"has {size[0]} x {size[1]} pixels" in str(error)
    assert most < 2**22


def test_a_small_picture_without_its_rows_is_no_traceback_of_opencv():
    with pytest.raises(ValueError, match="is no image"):
        drawings.read_drawing(zipped(picture(105, 105)), "picture.png")


def test_a_cache_whose_header_asks_for_all_memory_is_made_anew(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**44,)})
    with zipfile.ZipFile(tmp_path / "cache.npz", "w") as archive:
        archive.writestr("images.npy", buffer.getvalue())
        archive.writestr("characters.npy", buffer.getvalue())
    assert _read_cache(tmp_path / "cache.npz", "omniglot") is None


def test_a_pipe_or_a_device_in_the_place_of_data_is_a_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(UserError, match="it is no regular file"):
            read_data(tmp_path / name)


def test_without_a_home_the_data_folder_is_asked_for(monkeypatch):
    monkeypatch.delenv("SYNRL_DATA", raising=False)

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("synrl_ray.files.Path.home", staticmethod(no_home))
    for ask in (home_folder, data_folder):
        with pytest.raises(UserError, match="you have no home folder on this machine"):
            ask()
