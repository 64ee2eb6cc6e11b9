"""Drawings inside zip archives, as Omniglot publishes them: read in place, decoded, shrunk."""

from __future__ import annotations

import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

SIZE = 28
"""Pixels per side after shrinking: the size that Vinyals et al. (2016), arXiv:1606.04080, resize them to."""

ZIP_DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged zip archive, or something damaged inside one, raises."""


def read_drawing(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    """One black-on-white PNG as ``[28, 28]`` uint8, ink 255 on paper 0, shrunk by averaging over areas.

    Raises:
        ValueError: if the file in the archive is no image.
        KeyError: if the archive has no such file. Damage raises one of ``ZIP_DAMAGE``.
    """
    import cv2  # slow to import, and not needed where decoded images are cached

    content = np.frombuffer(archive.read(name), np.uint8)
    drawing = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if len(content) else None
    if drawing is None:
        raise ValueError(f"{name} is no image")
    return cv2.resize(255 - drawing, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
