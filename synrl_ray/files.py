"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import lzma
import os
import secrets
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from synrl_ray.errors import UserError

ZIP_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, OverflowError, RuntimeError, MemoryError),
    *(struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading a damaged zip archive, or something damaged inside one, raises."""


def home_folder() -> Path:
    """The user's home folder.

    Raises:
        UserError: if there is none: no ``HOME``, and a user that the system does not know, as in some containers.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise UserError(
            "you have no home folder on this machine", "let HOME name a folder that you can write"
        ) from error


def expanded(path: str | Path) -> Path:
    """A path with ``~`` replaced by the home folder that it stands for.

    Raises:
        UserError: if there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path} begins with a home folder that is not there", "write the whole path") from error


def located(path: Path) -> Path:
    """A relative path counts from ``SYNRL_RUN_ROOT`` inside a job, whose working directory Ray deletes."""
    return expanded(os.environ.get("SYNRL_RUN_ROOT", ".")) / path


def at_hand(path: Path) -> Path:
    """A file that came with the job, else one beside the runs."""
    return path if path.exists() else located(path)


def named(folder: Path) -> Path:
    """The same folder by a path that ends in its name: that of ``.`` and ``..`` too."""
    return folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write ``content`` beside ``path`` and rename it into place: neither a reader nor a power cut meets half of it.

    Folders that are missing are made. The file has what the user's umask leaves of ``mode``, from its beginning on.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):  # it may be in its place already when Ctrl-C is heard
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def write_new(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file as :func:`write_atomically` does, unless there is one; of several processes just one succeeds.

    Raises:
        FileExistsError: if there is one.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_atomically(draft, content, mode=mode)
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))  # a file system without links
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove whatever is there: a folder, or what lies in its place, be it a link or a pipe; nothing is fine too."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def rename_durably(source: Path, target: Path) -> None:
    """Rename within a folder, and return when that would survive a power cut.

    What is renamed must be synced before (:func:`sync_tree`): a file system may write the new name before the content.
    """
    os.rename(source, target)
    sync_folder(target.parent)


def sync_tree(folder: Path) -> None:
    """Write all files and folders below to the disk, and the folder itself; links are left alone.

    They are handed over together, because a file system writes several at the cost of one. What another process
    removes meanwhile is none of them.
    """
    files, folders = [], []
    for root, _, names in os.walk(folder):
        folders.append(Path(root))
        for path in (os.path.join(root, name) for name in names):
            with suppress(FileNotFoundError):
                files += [path] if stat.S_ISREG(os.lstat(path).st_mode) else []
    with ThreadPoolExecutor(max_workers=16) as pool:
        written = [pool.submit(_sync, path, os.O_RDONLY) for path in files]
        written += [pool.submit(sync_folder, path) for path in folders]
    for each in written:
        with suppress(FileNotFoundError):
            each.result()


def sync_folder(folder: Path) -> None:
    """Write a folder's list of names to the disk, where its file system can do that; the folder may be a link."""
    with _where_supported():
        _sync(os.path.realpath(folder), os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def _where_supported() -> Iterator[None]:
    """Ignore that a file system cannot do a thing at all; other errors go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, in a way that a power cut does not undo."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def _sync(path: Path | str, flags: int) -> None:
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: Path) -> BinaryIO:
    """Open a file that may be a stranger's for reading, without ever waiting for it.

    Opening a pipe would wait for a writer, and reading a device might never end.

    Raises:
        OSError: if it is not there or cannot be opened.
        ValueError: if it is, or leads to, anything but a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Read a whole file that may be a stranger's.

    Raises:
        OSError: if it is not there or cannot be read.
        ValueError: if it is no regular file, or larger than ``most_bytes``.
    """
    with open_regular(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes:,} bytes")
    return content


def read_member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """A file of an archive; a few bytes can unpack to any size.

    Raises:
        ValueError: if it is larger than ``most_bytes``. Damage raises one of ``ZIP_DAMAGE``.
    """
    with archive.open(name) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{name} is larger than {most_bytes:,} bytes")
    return content
