"""Omniglot: characters of many alphabets, each drawn once by each of 20 people.

The whole set has 1,623 characters of 50 alphabets; 964 of them, of 30 alphabets, are its background set, and the others
make the official one-shot runs. The two small sets of its authors share two alphabets; together they have 242
background characters of 8 alphabets. A result on one set does not compare with a result on another, so the data carry
the name of theirs.

References:
    Lake, Salakhutdinov & Tenenbaum (2015), Human-level concept learning through probabilistic program induction,
    Science 350(6266), doi:10.1126/science.aab3050.
    Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra (2016), Matching networks for one shot learning,
    arXiv:1606.04080: images of 28 x 28.
"""

from __future__ import annotations

import io
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synrl_ray.data.drawings import SIZE, read_drawing
from synrl_ray.data.location import MOST_BYTES, data_folder, fetch, md5
from synrl_ray.errors import UserError
from synrl_ray.files import ZIP_DAMAGE, home_folder, read_bounded, write_atomically

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
NUM_DRAWERS = 20
_BACKGROUND = {"images_background.zip": "68d2efa1b9178cc56df9314c21c6e718"}
# The archives of each set, in the order in which they are looked for, and their MD5.
_SETS = {
    "omniglot": {
        **_BACKGROUND,
        "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
    },
    "omniglot-small": {
        "images_background_small1.zip": "e704a628b5459e08445c13499850abc4",
        "images_background_small2.zip": "b75a71a51d3b13f821f212756fe481fd",
    },
    "omniglot-background": _BACKGROUND,
}
EVALUATION_FREE = ("omniglot-background", "omniglot-small")
"""Sets without the characters of the official one-shot runs."""
_CACHE_FORMAT = 1  # counted up when the same archives are to give other arrays

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Omniglot:
    """Drawings in the order of their characters' names, and of their drawers' numbers."""

    name: str
    """Which set: ``omniglot``, ``omniglot-small`` or ``omniglot-background``."""
    images: NDArray[np.uint8]
    """``[characters, 20, 28, 28]``, ink 255 on paper 0."""
    characters: tuple[str, ...]
    """Such as ``Greek/character01``."""

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def alphabets(self) -> tuple[str, ...]:
        """Their names, in order, each once."""
        return tuple(dict.fromkeys(character.partition("/")[0] for character in self.characters))


def load_omniglot(name: str | None = None, folder: Path | None = None, cache: Path | None = None) -> Omniglot:
    """Read the archives without unpacking them, or what an earlier call has decoded of the same ones.

    Args:
        name: which set. Where not given, the first of ``omniglot``, ``omniglot-small`` and ``omniglot-background``
            whose archives are all at hand; else the first of which one archive is; else ``omniglot``. Archives that
            are not at hand are fetched.
        folder: of the archives; ``omniglot`` in the data folder where not given.
        cache: folder of the decoded images, which may be deleted at any time; ``~/.cache/synrl_ray/decoded`` where
            not given, since data folders are often read-only. If it cannot be written, or there is no home, the images
            are decoded anew each time, and a warning is logged.

    Raises:
        UserError: for a set that does not exist, and for archives that are missing or damaged.
    """
    if name is not None and name not in _SETS:
        raise UserError(f"there is no set {name!r} of Omniglot", f"choose one of {', '.join(_SETS)}")
    folder = folder or data_folder() / "omniglot"
    name = name or set_at_hand(folder)
    archives = [_read_archive(folder / file, checksum) for file, checksum in _SETS[name].items()]
    cache = cache or _usual_cache()
    if cache is None:
        return _decode(archives, name)
    key = md5("".join(_SETS[name].values()).encode())[:12]
    cached = cache / f"{name}-{SIZE}px-{key}-{_CACHE_FORMAT}.npz"
    data = _read_cache(cached, name)
    if data is None:
        data = _decode(archives, name)
        _write_cache(cached, data)
    return data


def set_at_hand(folder: Path | None = None) -> str:
    """The set that :func:`load_omniglot` reads where none is named; ``folder`` as there."""
    folder = folder or data_folder() / "omniglot"
    for enough in (all, any):
        for name, files in _SETS.items():
            if enough((folder / file).exists() for file in files):
                return name
    return next(iter(_SETS))


def _usual_cache() -> Path | None:
    try:
        return home_folder() / ".cache" / "synrl_ray" / "decoded"
    except UserError as error:
        logger.warning("%s: Omniglot is decoded anew at each start", error.message)
        return None


def _read_archive(path: Path, checksum: str) -> bytes:
    return fetch(path, [URL + path.name], lambda content: md5(content) == checksum)


def _decode(archives: list[bytes], name: str) -> Omniglot:
    """Files are ``set/alphabet/character/0001_01.png``, the last number that of the drawer."""
    drawings: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for content in archives:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for file in archive.namelist():
                if file.endswith(".png"):
                    _, alphabet, character, drawing = file.split("/")
                    key = (f"{alphabet}/{character}", drawing.rpartition("_")[2])
                    if key not in drawings:  # both small sets have Greek and Latin
                        drawings[key] = read_drawing(archive, file)
    characters = tuple(sorted({character for character, _ in drawings}))
    images = np.stack([drawings[key] for key in sorted(drawings)])
    return Omniglot(name, images.reshape(len(characters), NUM_DRAWERS, SIZE, SIZE), characters)


def _write_cache(path: Path, data: Omniglot) -> None:
    file = io.BytesIO()
    np.savez(file, images=data.images, characters=np.array(data.characters))
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        logger.warning("%s cannot be written (%s): Omniglot is decoded anew at each start", path, error.strerror)


def _read_cache(path: Path, name: str) -> Omniglot | None:
    """``None`` where there is none, or none that is whole: it is made anew then."""
    try:
        content = io.BytesIO(read_bounded(path, MOST_BYTES))
        with zipfile.ZipFile(content) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                return None
            if archive.testzip() is not None:  # numpy trusts the arrays' headers before it meets a wrong checksum
                return None
        content.seek(0)
        with np.load(content) as arrays:
            images, characters = arrays["images"], tuple(arrays["characters"].tolist())
    except ZIP_DAMAGE:
        return None
    whole = images.dtype == np.uint8 and images.shape == (len(characters), NUM_DRAWERS, SIZE, SIZE)
    return Omniglot(name, images, characters) if whole else None
