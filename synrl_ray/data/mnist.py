"""MNIST (LeCun, Cortes, Burges): the four official IDX files."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synrl_ray.data.location import data_folder, fetch, md5
from synrl_ray.errors import UserError

_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# MD5 of the *unzipped* official files: gzip wrappers differ between mirrors.
_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_DTYPE_UBYTE = 8
_MOST_BYTES = 2**26


@dataclass(frozen=True)
class LabelledImages:
    """Images ``[n, 28, 28]`` uint8 and labels ``[n]`` int64, which count 0, 1, … over the chosen digits."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load_mnist(
    digits: Sequence[int] = tuple(range(10)), folder: Path | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """The official training and test sets, cut down to some digits.

    Args:
        digits: which, in the order of their new labels.
        folder: of the IDX files; ``mnist`` in the data folder where not given.

    Raises:
        UserError: for digits that do not exist or repeat, and for files that are missing or damaged.
    """
    if len(set(digits)) != len(digits) or len(digits) < 2 or not all(0 <= digit <= 9 for digit in digits):
        raise UserError(f"digits {tuple(digits)} cannot be told apart", "name at least two different ones of 0 to 9")
    folder = folder or data_folder() / "mnist"
    return tuple(  # type: ignore[return-value]
        _choose(_read(folder, f"{part}-images-idx3-ubyte"), _read(folder, f"{part}-labels-idx1-ubyte"), digits)
        for part in ("train", "t10k")
    )


def _choose(images: NDArray[np.uint8], labels: NDArray[np.uint8], digits: Sequence[int]) -> LabelledImages:
    new_label = np.full(10, -1, dtype=np.int64)
    new_label[list(digits)] = np.arange(len(digits))
    chosen = new_label[labels]
    return LabelledImages(images[chosen >= 0], chosen[chosen >= 0])


def _read(folder: Path, name: str) -> NDArray[np.uint8]:
    def is_intact(content: bytes) -> bool:
        try:
            return md5(_unpacked(content)) == _FILES[name]
        except (OSError, EOFError, zlib.error):
            return False

    return _parse_idx(_unpacked(fetch(folder / f"{name}.gz", [f"{_URL}{name}.gz"], is_intact)))


def _unpacked(content: bytes) -> bytes:
    """No more than the largest of the files holds: a few bytes can unpack to any size."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return file.read(_MOST_BYTES)


def _parse_idx(content: bytes) -> NDArray[np.uint8]:
    """IDX: two zero bytes, a type code, the rank, the sizes as big-endian integers, then the data."""
    zero, code, rank = struct.unpack(">HBB", content[:4])
    if zero != 0 or code != _DTYPE_UBYTE:
        raise ValueError(f"not an IDX file of bytes: header {content[:4]!r}")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
