"""The real data sets, where they are at hand; they are never fetched for a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"
FILES = {"mnist": ("*-ubyte.gz", 4), "omniglot": ("images_background_small[12].zip", 2)}


def folder_with(data_set: str) -> Path:
    """The folder that holds the data set's; the test is skipped where there is none."""
    pattern, number = FILES[data_set]
    for root in [Path(named) for named in [os.environ.get("SYNRL_DATA")] if named] + [BESIDE]:
        if len(list((root / data_set).glob(pattern))) == number:
            return root.resolve()  # the test may go elsewhere
    pytest.skip(f"{data_set} is not at hand: set SYNRL_DATA to a folder that holds {data_set}/{pattern}")
