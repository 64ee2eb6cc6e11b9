"""One file that holds a policy and what is to be known of it, for sharing: a zip of plain files, none of them code."""

from __future__ import annotations

import http.client
import io
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of, told_of
from synrl_ray.files import ZIP_DAMAGE, read_bounded, read_member, write_atomically
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE, damage_of, read_description

SUFFIX = ".synrl"
_NEEDED = (DESCRIPTION_FILE, WEIGHTS_FILE)
_BESIDE = ("result.json", "config.json", "policy.nir")
_MOST_BYTES = 2**30
"""Of all files together, packed or not."""
_PART = 2**20
_TIMEOUT_SECONDS = 60


def is_packed(place: str | Path) -> bool:
    """Whether it names such a file, here or at a URL."""
    if "://" in str(place):
        return urlsplit(str(place)).path.endswith(SUFFIX)
    return str(place).endswith(SUFFIX) and not Path(place).is_dir()


def pack(folder: Path, out: Path, texts: dict[str, str]) -> int:
    """Write ``policy.json``, ``policy.safetensors`` and what lies beside them into one file.

    Args:
        folder: of a run, or under ``experiments/results``.
        out: the file, which ends in ``.synrl``.
        texts: further files by their names.

    Returns:
        Its size, bytes.

    Raises:
        UserError: if the folder holds no policy, it is larger than a GiB, or ``out`` has another name or is there.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"{out} is no packed policy", f"let its name end in {SUFFIX}")
    if out.exists():
        raise UserError(f"{out} exists", "choose another --out")
    read_description(folder)
    present = [name for name in (*_NEEDED, *_BESIDE) if (folder / name).exists()]
    if sum((folder / name).stat().st_size for name in present) + sum(map(len, texts.values())) > _MOST_BYTES:
        raise UserError(f"{folder} is larger than a GiB", "export a smaller policy")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in present:
            with damage_of(folder / name):
                archive.writestr(zipfile.ZipInfo(name), read_bounded(folder / name, _MOST_BYTES))
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    try:
        write_atomically(out, content.getvalue())
    except OSError as error:
        raise UserError(f"{out} cannot be written ({reason_of(error)})", "choose another --out") from error
    return len(content.getvalue())


@contextmanager
def unpacked(place: str | Path) -> Iterator[Path]:
    """The files of a packed policy in a folder, for the block. Nothing of it is executed, and no other name is written.

    Args:
        place: the file, or its URL (``https://``, ``http://``).

    Raises:
        UserError: if it cannot be read, or is no packed policy.
    """
    with tempfile.TemporaryDirectory(prefix="synrl-policy-") as kept:
        file = Path(place)
        if "://" in str(place):
            file = Path(kept, "fetched")
            _fetch(str(place), file)
        folder = Path(kept, "policy")
        folder.mkdir()
        try:
            with zipfile.ZipFile(file) as archive:
                if sum(each.file_size for each in archive.infolist()) > _MOST_BYTES:
                    raise ValueError("it is larger than a GiB")
                names = [name for name in (*_NEEDED, *_BESIDE) if name in archive.namelist()]
                content = {name: read_member(archive, name, _MOST_BYTES) for name in names}
        except FileNotFoundError as error:
            raise UserError(f"there is no {place}", f"name a file that `{command('pack')}` has written") from error
        except ZIP_DAMAGE as error:
            raise UserError(f"{place} is damaged ({reason_of(error)})", "pack it again") from error
        for name, data in content.items():
            (folder / name).write_bytes(data)
        with told_of(place, folder):
            yield folder


def _fetch(url: str, file: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise UserError(f"{url} cannot be fetched", "name a file, or an address that begins with https://")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response, file.open("wb") as target:
            while content := response.read(_PART):
                target.write(content)
                if target.tell() > _MOST_BYTES:
                    raise ValueError("it is larger than a GiB")
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise UserError(f"{url} cannot be fetched ({reason_of(error)})", "look whether it is there") from error
