"""Drawings inside zip archives, as Omniglot publishes them: read in place, decoded, shrunk."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
from numpy.typing import NDArray

from synrl_ray.files import read_member

SIZE = 28
"""Pixels per side after shrinking: the size that Vinyals et al. (2016), arXiv:1606.04080, resize them to."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS, _MOST_BYTES = 1024, 2**20


def _require_small_png(content: bytes, name: str) -> None:
    """Before anything is decoded: a PNG of a few bytes can say that it has any number of pixels."""
    if len(content) < 24 or not content.startswith(_PNG):
        raise ValueError(f"{name} is no image")
    width, height = struct.unpack(">II", content[16:24])
    if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS):
        raise ValueError(f"{name} has {width} x {height} pixels, {_MOST_PIXELS} a side are the most")


def read_drawing(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    """One black-on-white PNG as ``[28, 28]`` uint8, ink 255 on paper 0, shrunk by averaging over areas.

    Raises:
        ValueError: if the file in the archive is no image.
        KeyError: if the archive has no such file. Damage raises one of :data:`synrl_ray.files.ZIP_DAMAGE`.
    """
    import cv2  # slow to import, and not needed where decoded images are cached

    content = read_member(archive, name, _MOST_BYTES)
    _require_small_png(content, name)
    try:
        drawing = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        drawing = None
    if drawing is None:
        raise ValueError(f"{name} is no image")
    return cv2.resize(255 - drawing, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
