"""Omniglot's official test of one-shot classification: 20 runs, each with 20 classes and 20 items to be told apart.

A run takes its classes from one alphabet of the evaluation set, which makes it harder than tasks over all alphabets.

References:
    Lake, Salakhutdinov & Tenenbaum (2015), Human-level concept learning through probabilistic program induction,
    Science 350(6266), doi:10.1126/science.aab3050: people err on 4.5 % of the items.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from synrl_ray.data.drawings import read_drawing
from synrl_ray.data.location import data_folder, read_data
from synrl_ray.data.omniglot import URL
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import ZIP_DAMAGE, read_member

NUM_RUNS = 20
WAYS = 20
_FILE = "all_runs.zip"
_LABELS = "class_labels.txt"


@dataclass(frozen=True)
class OneShotRuns:
    """All runs, side by side; class ``c`` of a run is the one in the file ``training/class(c + 1).png``."""

    support: NDArray[np.uint8]
    """``[20 runs, 20 classes, 28, 28]``, ink 255 on paper 0."""
    query: NDArray[np.uint8]
    """``[20 runs, 20 items, 28, 28]``, in the order of the items' numbers."""
    labels: NDArray[np.int64]
    """``[20 runs, 20 items]``, the class of each item, 0 to 19."""


def official_runs(folder: Path | None = None) -> OneShotRuns:
    """Read ``all_runs.zip`` without unpacking it.

    Args:
        folder: of the archive; ``omniglot`` in the data folder where not given.

    Raises:
        UserError: if the archive is not there, cannot be read, or is damaged.
    """
    path = (folder or data_folder() / "omniglot") / _FILE
    address = f"{URL}one-shot-classification/{_FILE}"
    try:
        content = read_data(path)
    except FileNotFoundError as error:
        remedy = f"fetch it from {address}, or set SYNRL_DATA to a folder that has it"
        raise UserError(f"data file {path} is not there", remedy) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            root = _root(archive)
            runs = [_read_run(archive, root, f"run{run:02d}") for run in range(1, NUM_RUNS + 1)]
    except ZIP_DAMAGE as error:
        raise UserError(
            f"data file {path} is damaged ({reason_of(error)})", f"fetch it again from {address}"
        ) from error
    support, query, labels = (np.stack(arrays) for arrays in zip(*runs, strict=True))
    return OneShotRuns(support, query, labels)


def _root(archive: zipfile.ZipFile) -> PurePosixPath:
    """The runs may lie in a folder of the archive or at its top."""
    for name in archive.namelist():
        file = PurePosixPath(name)
        if file.parts[-2:] == ("run01", _LABELS):
            return file.parents[1]
    raise ValueError(f"there is no run01/{_LABELS} in it")


def _read_run(
    archive: zipfile.ZipFile, root: PurePosixPath, run: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Lines of the labels are ``run01/test/item01.png run01/training/class05.png``."""
    classes = [f"{run}/training/class{number:02d}.png" for number in range(1, WAYS + 1)]
    items = [f"{run}/test/item{number:02d}.png" for number in range(1, WAYS + 1)]
    lines = read_member(archive, str(root / run / _LABELS), 2**16).decode(errors="replace").splitlines()
    pairs = [tuple(line.split()) for line in lines if line.strip()]
    class_of = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    if len(pairs) != WAYS or sorted(class_of) != items or not set(class_of.values()) <= set(classes):
        raise ValueError(f"{run}/{_LABELS} does not name one of {WAYS} classes for each of {WAYS} items")
    support, query = (
        np.stack([read_drawing(archive, str(root / name)) for name in names]) for names in (classes, items)
    )
    return support, query, np.array([classes.index(class_of[item]) for item in items])
