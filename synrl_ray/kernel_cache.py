"""Where compiled kernels are kept between processes, so that they are compiled once: a cache for numba's functions.

Numba's own cache fails at import where no folder is writable, and unpickles, which is to execute, what it finds in a
folder that others may write. Nor does it notice when a function changes that a kernel calls from another file. Here
nothing is read that another user could have put there, every file carries a digest, and what cannot be read or written
is compiled again. Of processes that need the same kernel at once, such as the env runners of a first run, one compiles
it and the others wait.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import os
import pickle
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

try:
    import fcntl
except ImportError:  # Windows: each process compiles for itself
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parent
_DIGEST_SIZE = 32
_WAIT_SECONDS = 120.0
"""For another process that compiles the same kernel: a multiple of what the largest takes."""


def kernel_cache(function: Callable[..., Any]) -> Any:
    """The cache of one function, for a dispatcher's ``_cache``."""
    source = Path(function.__code__.co_filename)
    return _KernelCache(function) if source.is_file() and cache_folder(source) is not None else NullCache()


@cache
def cache_folder(source: Path) -> Path | None:
    """The folder for what is compiled from a file: the first of the usual ones that we can write and others cannot.

    These are ``NUMBA_CACHE_DIR``, the ``__pycache__`` beside the file, and the user's cache folder; then one of the
    user's own among the temporary files, and one of this process.

    Returns:
        ``None`` if nothing can be written at all.
    """
    chosen = next(filter(_is_safe, _candidates(source)), None)
    if numba.config.CACHE_DIR and (chosen is None or Path(numba.config.CACHE_DIR) not in chosen.parents):
        _say_once(
            f"NUMBA_CACHE_DIR is not used, since others may write to {numba.config.CACHE_DIR} or we cannot: "
            "name a folder of your own"
        )
    return chosen


def _candidates(source: Path) -> Iterator[Path]:
    name = _CacheLocator.get_suitable_cache_subpath(str(source))
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / name
    yield source.parent / "__pycache__"
    users = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    if users.is_absolute():  # else it is "~", as it stands: the user has no home
        yield users / name
    with contextlib.suppress(OSError):  # there is no folder for temporary files
        yield Path(tempfile.gettempdir()) / f"synrl-kernels-{_user()}" / name
        yield _folder_of_this_process() / name


@cache
def _folder_of_this_process() -> Path:
    folder = tempfile.mkdtemp(prefix="synrl-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def _say_once(line: str) -> None:
    logger.warning(line)


def _is_safe(folder: Path) -> bool:
    """Whether we can write there, and nobody else can put or exchange something; the folder is made if need be."""
    try:
        if not _is_out_of_reach(next(part for part in (folder, *folder.absolute().parents) if part.exists())):
            return False
        if not folder.parent.exists():
            os.makedirs(folder.parent, mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return _is_out_of_reach(folder)
    except OSError:
        return False


def _is_out_of_reach(folder: Path) -> bool:
    """Whether others can exchange neither a folder nor one of those that it lies in, with or without links."""
    absolute, real = folder.absolute(), folder.resolve()
    return all(_is_trusted(part.stat()) for part in {absolute, *absolute.parents, real, *real.parents})


def _is_trusted(found: os.stat_result) -> bool:
    """Whether a file or folder is root's or ours, and others cannot write it, or as in ``/tmp`` only what is theirs."""
    if os.name == "nt":  # its modes say nothing
        return True
    if found.st_uid not in (0, _user()):
        return False
    is_open = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid))
    return not is_open or bool(stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


@cache
def _is_own_group(group: int) -> bool:
    """Whether a group is root's, or the user's alone, as many systems make one for every user."""
    import grp
    import pwd

    try:
        user, entry = pwd.getpwuid(_user()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == 0 or (entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name})


@cache
def _sources_digest() -> bytes:
    """Of all kernels' sources, since they call each other, and of what compiles them."""
    digest = hashlib.sha256(repr((numba.__version__, platform.python_version())).encode())
    for pattern in ("*_kernel*.py", "schedules.py", "vectors.py"):
        for source in sorted(_PACKAGE.rglob(pattern)):
            digest.update(source.read_bytes())
    return digest.digest()


class _Locator(_CacheLocator):
    def __init__(self, source: Path, line: int) -> None:
        self._source, self._line = source, line

    def get_cache_path(self) -> str:
        return str(cache_folder(self._source))

    def get_source_stamp(self) -> bytes:
        return hashlib.sha256(_sources_digest() + self._source.read_bytes()).digest()

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(Path(py_func.__code__.co_filename), py_func.__code__.co_firstlineno)


class _Implementation(CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Files:
    """A file for each signature, named after it and the sources, so that processes cannot mix up each other's."""

    def __init__(self, folder: str, base: str, stamp: bytes) -> None:
        self._folder, self._base, self._stamp = Path(folder), base, stamp.hex()[:16]
        self._locks: dict[Path, int] = {}

    def load(self, key: Any) -> Any:
        """What is kept; if nothing is, it is for this process to compile it, and others wait until it is saved."""
        path = self._path(key)
        found = self._read(path)
        if found is None and self._wait_for_lock(path):
            found = self._read(path)
            if found is not None:
                self._unlock(path)
        return found

    def _wait_for_lock(self, path: Path) -> bool:
        """Hold the lock of a kernel that is to be compiled. Kernels call one another in one direction: no two wait."""
        if fcntl is None or path in self._locks:
            return False
        end, name = time.monotonic() + _WAIT_SECONDS, path.with_suffix(".lock")
        while time.monotonic() < end:
            try:
                handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._locks[path] = handle
                return True
            except BlockingIOError:  # the lock of one that ends is free
                os.close(handle)
                time.sleep(0.05)
            except OSError:  # a file system without locks
                os.close(handle)
                return False
        return False

    def _unlock(self, path: Path) -> None:
        if (handle := self._locks.pop(path, None)) is not None:
            with contextlib.suppress(OSError):
                path.with_suffix(".lock").unlink()  # who waits for it finds the kernel
            os.close(handle)

    def _read(self, path: Path) -> Any:
        try:
            with path.open("rb") as file:
                if not _is_trusted(os.fstat(file.fileno())):
                    return None
                content = file.read()
        except OSError:
            return None
        digest, data = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if hashlib.sha256(data).digest() != digest:
            return None
        return pickle.loads(data)  # what only we or root can have written

    def save(self, key: Any, data: Any) -> None:
        path = self._path(key)
        try:
            self._write(path, dumps(data))
        finally:
            self._unlock(path)

    def _write(self, path: Path, pickled: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=f"{path.name}.", delete=False) as file:
            try:
                file.write(hashlib.sha256(pickled).digest() + pickled)
                file.close()
                os.replace(file.name, path)
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
        for old in self._folder.glob(f"{self._base}.*.kernel"):
            if not old.name.startswith(f"{self._base}.{self._stamp}"):
                old.unlink(missing_ok=True)

    def flush(self) -> None:
        for old in self._folder.glob(f"{self._base}.*.kernel"):
            old.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._base}.{self._stamp}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.kernel"


class _KernelCache(FunctionCache):
    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for this signature; ``None`` if nothing was or it cannot be read."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # of unpickling and of LLVM, which have no common class
            logger.info("a compiled kernel cannot be read and is compiled again: %s", error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, where there still is room and permission."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            logger.info("a compiled kernel is not kept: %s", error)
            self.disable()
