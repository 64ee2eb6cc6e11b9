"""A copy of a run's folder elsewhere: any place that fsspec can reach, such as ``s3://bucket/runs``, or a folder.

The folder where the run trains stays what counts. The copy follows each checkpoint. Its files are replaced one by one,
the older checkpoint's first, so that a copy that was cut short holds a whole one: the seals tell.

The place belongs to one run: ``synrl-copy.json`` there holds the run's id and the names of what the run has put there.
Each push looks at the id first, and nothing but these names is ever deleted.
"""

from __future__ import annotations

import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from synrl_ray.commands import command, quoted
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import write_atomically, write_new
from synrl_ray.running.lock import LOCK_FILE

NOTE = "storage.json"
"""In a run's folder: where its copy is. It stays at home."""
CLAIM = "synrl-copy.json"
_CONFIG, _RESULT = "config.json", "result.json"
_CHECKPOINTS = ("checkpoint.old", "checkpoint")
_AT_HOME = (NOTE, LOCK_FILE, CLAIM)
_MOST_BYTES = 2**24


def is_url(text: str) -> bool:
    """Whether it names a place by protocol."""
    return "://" in text


def new_id() -> str:
    """An id for a run."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Claim:
    """Whose copy a place holds."""

    run: str
    files: frozenset[str] = frozenset()
    """Names of what the run has put there; of what it may have put there, if a push was cut short."""

    def to_json(self) -> str:
        """The content of ``synrl-copy.json``."""
        return json.dumps({"format": 1, "run": self.run, "files": sorted(self.files)}) + "\n"

    @staticmethod
    def from_json(content: bytes) -> Claim:
        """Inverse of :meth:`to_json`; the file may be anybody's.

        Raises:
            ValueError: if it is no such file.
        """
        data = json.loads(content)
        if not isinstance(data, dict) or data.get("format") != 1 or not is_id(data.get("run")):
            raise ValueError("it names no run")
        names = data.get("files")
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_inside(name) for name in names):
            raise ValueError("it names no files of a run")
        return Claim(data["run"], frozenset(names))


def is_id(value: Any) -> bool:
    """Whether it is a run's id."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32}", value) is not None


class Storage:
    """A place for a run's copy.

    Args:
        url: an fsspec URL or a path.

    Raises:
        UserError: for a protocol that is not known, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self.url = url.rstrip("/")
        try:
            if is_url(self.url):
                self._fs, self._root = fsspec.core.url_to_fs(self.url)
            else:  # a path; fsspec would take two colons in it for a chain of places
                self._fs, self._root = LocalFileSystem(), os.path.abspath(self.url)
        except (ImportError, ValueError) as error:
            remedy = "install the package of its protocol, such as s3fs for s3://"
            raise UserError(f"storage {self.url} cannot be used ({reason_of(error)})", remedy) from error
        self._sent: dict[str, tuple[int, int]] = {}

    def require_free(self, folder: Path, run: str | None = None) -> None:
        """Look whether a run can be copied there; nothing but the folder itself is left there by the look.

        Args:
            folder: of the run.
            run: its id, if it may have a copy there already.

        Raises:
            UserError: if another run's copy is there, it cannot be written, or one lies in the other.
        """
        self.require_apart(folder)
        probe = f"{self._root}/.probe-{uuid.uuid4().hex}"
        with self._said("cannot be written", "check the address and your rights"):
            self._require_no_other(run)
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(probe, b"")
            self._fs.rm_file(probe)

    def require_apart(self, folder: Path) -> None:
        """Raise :class:`UserError` if a run's folder and the place lie in one another: a copy would copy itself."""
        if (root := self._local_root()) is not None:
            folder = Path(os.path.realpath(folder))
            if root.is_relative_to(folder) or folder.is_relative_to(root):
                raise UserError(f"storage {root} and run folder {folder} lie in one another", "keep them apart")

    def claim(self, run: str, *, adopt: bool = False) -> None:
        """Make the place this run's, before anything is put there.

        Args:
            run: the run's id.
            adopt: take over the copy that is there, whichever run's it is: that run is refused from then on.

        Raises:
            UserError: if another run has it, or it cannot be written.
        """
        with self._said("cannot be written", "check the address and your rights"):
            found = self._claim()
            if adopt and found is not None:
                self._write_claim(Claim(run, found.files))
                return
            if not adopt:
                self._require_no_other(run)
            if found is None:
                self._create_claim(Claim(run, frozenset(self._names()) if adopt else frozenset()))
                self._require_no_other(run)  # another run may have come at the same moment

    def push(self, folder: Path, run: str) -> None:
        """Bring the copy up to date. Links are not followed; what others have put there stays.

        Raises:
            UserError: if it cannot be written, or is another run's by now.
        """
        files = _files(folder)
        with self._said("cannot be written", f"the run itself is whole in {quoted(folder)}"):
            before = self._claim()
            if before is None or before.run != run:
                raise self._taken()
            gone = before.files - set(files)
            if set(files) - before.files:
                self._write_claim(Claim(run, before.files | set(files)))
            for name in sorted(before.files | set(files), key=lambda name: (_rank(name), name in gone, name)):
                if name in gone:
                    with suppress(FileNotFoundError):
                        self._fs.rm_file(self._place_of(name))
                    self._sent.pop(name, None)
                    continue
                status = (folder / name).stat()
                stamp = (status.st_size, status.st_mtime_ns)
                if self._sent.get(name) != stamp:
                    target = self._place_of(name)
                    self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                    self._fs.put_file(str(folder / name), target)
                    self._sent[name] = stamp
            if gone:
                self._write_claim(Claim(run, frozenset(files)))

    def has(self, name: str) -> bool:
        """Whether the copy has that file.

        Raises:
            UserError: if it cannot be read.
        """
        with self._said("cannot be read", "check the address and your rights"):
            return bool(self._fs.exists(f"{self._root}/{name}"))

    def pull(self, folder: Path, *, policy_only: bool = False) -> None:
        """Fetch the copy into a new folder; without checkpoints and event files if only the policy is wanted.

        Raises:
            UserError: if nothing is there, or it cannot be read.
        """
        with self._said("cannot be read", "check the address and your rights"):
            names, claim = self._names(), self._claim()
            if claim is not None:
                names = [name for name in names if name in claim.files]
            if not names:
                raise UserError(f"storage {self.url} is empty", "name what `synrl train --storage` has filled")
            for name in names:
                if name in _AT_HOME or (policy_only and name.partition("/")[0] in (*_CHECKPOINTS, "tensorboard")):
                    continue
                target = folder / name
                if not _is_inside(name):
                    raise UserError(f"storage {self.url} holds the name {name!r}", "it is no run's copy")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(self._place_of(name), str(target))

    # --- the place's files -----------------------------------------------------------------------------------

    def _local_root(self) -> Path | None:
        """The place as a path, where it is on a file system of this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return Path(os.path.realpath(self._root)) if isinstance(self._fs, LocalFileSystem) else None

    def _names(self) -> list[str]:
        """Of all files there, relative."""
        if (local := self._local_root()) is not None:
            return sorted(_files(local)) if local.is_dir() else []
        if not self._fs.isdir(self._root):
            return []
        prefix = f"{self._fs._strip_protocol(self._root)}/"
        return [str(path).removeprefix(prefix) for path in self._fs.find(self._root)]

    def _place_of(self, name: str) -> str:
        """Where a file of the copy is; never what a link in its way leads to, or a pipe that would be waited for."""
        place, root = f"{self._root}/{name}", self._local_root()
        if root is not None:
            is_other = os.path.lexists(place) and not stat.S_ISREG(os.lstat(place).st_mode)
            if is_other or Path(os.path.realpath(os.path.dirname(place))) != root / PurePosixPath(name).parent:
                remedy = "remove it, or choose another place"
                raise UserError(f"storage {self.url} holds a link, or what is no file, in the place of {name}", remedy)
        return place

    def _claim(self) -> Claim | None:
        place = self._place_of(CLAIM)
        try:
            with self._fs.open(place, "rb") as file:
                content = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return None
        try:
            return Claim.from_json(content)
        except (RecursionError, ValueError) as error:
            problem = f"{self.url}/{CLAIM} is damaged ({reason_of(error)})"
            raise UserError(problem, "restore it, or choose another --storage") from error

    def _write_claim(self, claim: Claim) -> None:
        place = self._place_of(CLAIM)
        if self._local_root() is None:
            self._fs.pipe_file(place, claim.to_json().encode())
        else:
            write_atomically(Path(place), claim.to_json())

    def _create_claim(self, claim: Claim) -> None:
        """Write the first claim. On a file system of this machine just one of several runs succeeds."""
        self._fs.makedirs(self._root, exist_ok=True)
        if self._local_root() is None:
            self._write_claim(claim)
            return
        with suppress(FileExistsError):
            write_new(Path(self._place_of(CLAIM)), claim.to_json())

    def _require_no_other(self, run: str | None) -> None:
        found = self._claim()
        is_taken = self._fs.exists(f"{self._root}/{_CONFIG}") if found is None else found.run != run
        if is_taken:
            raise self._taken()

    def _taken(self) -> UserError:
        go_on = command("train", "--resume", self.url)
        remedy = f"continue that with `{go_on}`, or choose another --storage" if is_url(self.url) else "choose another"
        return UserError(f"storage {self.url} holds another run", remedy)

    @contextmanager
    def _said(self, what: str, remedy: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol's package raises types of its own
            raise UserError(f"storage {self.url} {what} ({reason_of(error)})", remedy) from error


def _files(folder: Path) -> list[str]:
    """The names of a run's regular files, relative; what links lead to is not the run's."""
    names = []
    for root, _, files in os.walk(folder):
        for name in files:
            path = Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode):
                names.append(path.relative_to(folder).as_posix())
    return [name for name in names if name not in _AT_HOME]


def _is_inside(name: str) -> bool:
    """Whether a name stays below the folder that it is relative to."""
    path = PurePosixPath(name)
    return (
        name.isprintable() and str(path) == name and name != "." and not path.is_absolute() and ".." not in path.parts
    )


def _rank(name: str) -> int:
    """The older checkpoint first, the result last. Each is whole, and rid of what is gone, before the next."""
    top = name.partition("/")[0]
    return _CHECKPOINTS.index(top) if top in _CHECKPOINTS else 3 if top == _RESULT else 2
