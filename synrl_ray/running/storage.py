"""A copy of a run's folder elsewhere: any place that fsspec can reach, such as ``s3://bucket/runs``, or a folder.

The folder where the run trains stays what counts. The copy follows each checkpoint. Its files are replaced one by one,
the older checkpoint's first, so that a copy that was cut short holds a whole one: the seals tell.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.files import write_atomically

_NOTE = "storage.json"
_CONFIG, _RESULT = "config.json", "result.json"
_CHECKPOINTS = ("checkpoint.old", "checkpoint")


def is_url(text: str) -> bool:
    """Whether it names a place by protocol."""
    return "://" in text


class Storage:
    """Where a run's copy is.

    Args:
        url: an fsspec URL or a path.

    Raises:
        UserError: for a protocol that is not known, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            remedy = "install the package of its protocol, such as s3fs for s3://"
            raise UserError(f"storage {self.url} cannot be used ({_line(error)})", remedy) from error
        self._sent: dict[str, tuple[int, int]] = {}

    def require_free(self, folder: Path) -> None:
        """Raise :class:`UserError` if the folder cannot be copied there: another run is there, or no right to write."""
        from fsspec.implementations.local import LocalFileSystem

        if isinstance(self._fs, LocalFileSystem):
            root, folder = Path(self._root).resolve(), folder.resolve()
            if root.is_relative_to(folder) or folder.is_relative_to(root):
                raise UserError(f"storage {root} and run folder {folder} lie in one another", "keep them apart")
        probe = f"{self._root}/.probe-{uuid.uuid4().hex}"
        with self._said("cannot be written", "check the address and your rights"):
            if self._fs.exists(f"{self._root}/{_CONFIG}"):
                remedy = f"continue it with `synrl train --resume {self.url}`, or choose another --storage"
                raise UserError(f"storage {self.url} holds a run", remedy)
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(probe, b"")
            self._fs.rm_file(probe)

    def push(self, folder: Path) -> None:
        """Bring the copy up to date.

        Raises:
            UserError: if it cannot be written.
        """
        files = sorted(_files(folder), key=_order)
        with self._said("cannot be written", f"the run itself is whole in {folder}"):
            for name in files:
                status = (folder / name).stat()
                stamp = (status.st_size, status.st_mtime_ns)
                if self._sent.get(name) != stamp:
                    self._fs.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
                    self._fs.put_file(str(folder / name), f"{self._root}/{name}")
                    self._sent[name] = stamp
            for name in set(self._names()) - set(files):
                self._fs.rm_file(f"{self._root}/{name}")
                self._sent.pop(name, None)

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
            names = self._names()
            if not names:
                raise UserError(f"storage {self.url} is empty", "name what `synrl train --storage` has filled")
            for name in names:
                if policy_only and name.partition("/")[0] in (*_CHECKPOINTS, "tensorboard"):
                    continue
                target = folder / name
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise UserError(f"storage {self.url} holds the name {name!r}", "it is no run's copy")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(f"{self._root}/{name}", str(target))

    def _names(self) -> list[str]:
        """Of all files there, relative."""
        if not self._fs.isdir(self._root):
            return []
        prefix = f"{self._fs._strip_protocol(self._root)}/"
        return [str(path).removeprefix(prefix) for path in self._fs.find(self._root)]

    @contextmanager
    def _said(self, what: str, remedy: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol's package raises types of its own
            raise UserError(f"storage {self.url} {what} ({_line(error)})", remedy) from error


class FolderCopy:
    """What a run folder's copy is, if it has one; noted in the folder, so that a resumed run goes on with it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._storage: Storage | None = None

    def note(self, url: str) -> None:
        """Give the folder a copy."""
        write_atomically(self._folder / _NOTE, json.dumps({"url": url}) + "\n")

    @property
    def url(self) -> str | None:
        """Where it is.

        Raises:
            UserError: if the note of it is damaged.
        """
        note = self._folder / _NOTE
        if not note.is_file():
            return None
        try:
            return str(json.loads(note.read_text())["url"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{note} is damaged", "delete it to go on without a copy") from error

    def update(self) -> None:
        """Bring it up to date.

        Raises:
            UserError: if it cannot be written.
        """
        if self._storage is None and (url := self.url) is not None:
            self._storage = Storage(url)
        if self._storage is not None:
            self._storage.push(self._folder)

    def complete(self) -> None:
        """Bring the copy of a run that has ended up to date, unless it has the result, which is copied last.

        Raises:
            UserError: if it cannot be written.
        """
        url = self.url
        if url is not None and not Storage(url).has(_RESULT):
            self.update()


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def _order(name: str) -> tuple[int, str]:
    """The older checkpoint first, the result last."""
    top = name.partition("/")[0]
    rank = _CHECKPOINTS.index(top) if top in _CHECKPOINTS else 3 if top == _RESULT else 2
    return rank, name


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
