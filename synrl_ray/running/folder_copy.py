"""Which place a run's folder is copied to: noted in the folder, under this user's key.

A run folder may be a stranger's, and what it says of a place is an order to overwrite what lies there. So a note
counts only if this user's key has signed it for this very folder. Otherwise the user names the place again.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.commands import quoted
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.running.seal import is_own_text, sign_text
from synrl_ray.running.storage import NOTE, Storage, is_id, new_id

_RESULT = "result.json"
_PURPOSE = "storage"
_MOST_BYTES = 2**16


@dataclass(frozen=True)
class CopyTarget:
    """Where a run is copied to."""

    url: str
    run: str
    """The id by which the place knows the run."""


class FolderCopy:
    """The copy of a run folder, if it has one.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._target: CopyTarget | None = None
        self._storage: Storage | None = None

    def require_free(self, url: str) -> None:
        """Look whether the folder can be copied there.

        Raises:
            UserError: if another run's copy is there, or it cannot be written.
        """
        Storage(url).require_free(self._folder, self._noted_id())

    def begin(self, url: str, *, adopt: bool = False) -> None:
        """Copy the folder there from now on: the place is claimed, and noted in the folder.

        Args:
            url: the place, as the user has named it.
            adopt: the folder was fetched from there: take that copy over, whichever run's it is.

        Raises:
            UserError: if another run has the place, it cannot be written, or it and the folder lie in one another.
        """
        self._storage = Storage(url)
        self._storage.require_apart(self._folder)
        run = self._noted_id() or new_id()
        self._storage.claim(run, adopt=adopt)
        self._target = CopyTarget(self._storage.url, run)
        note = {"url": self._target.url, "run": run, "hmac": sign_text(_PURPOSE, self._signed(self._target))}
        write_atomically(self._folder / NOTE, json.dumps(note) + "\n")

    def go_on(self, target: CopyTarget | None) -> None:
        """Take a target from the process that has checked it; this one may run on a machine without the user's key."""
        self._target = target

    @property
    def target(self) -> CopyTarget | None:
        """Where the copy is; ``None`` if there is none.

        Raises:
            UserError: if the note of it is damaged, or this user has not made it for this folder.
        """
        if self._target is None and (noted := self._note()) is not None:
            target, signature = noted
            if not is_own_text(_PURPOSE, self._signed(target), signature):
                raise UserError(
                    f"run folder {self._folder} names {target.url!r} as the place of its copy, which you have not told "
                    "it on this machine",
                    f"add --storage with the place, or delete {quoted(self._folder / NOTE)} to go on without a copy",
                )
            self._target = target
        return self._target

    def require_own(self) -> None:
        """Refuse a folder that names a place which this user has not; see :attr:`target`."""
        _ = self.target

    def update(self) -> None:
        """Bring the copy up to date.

        Raises:
            UserError: if it cannot be written, or another run has the place by now.
        """
        target = self.target
        if target is not None:
            self._storage = self._storage or Storage(target.url)
            self._storage.push(self._folder, target.run)

    def complete(self) -> None:
        """Bring the copy of a run that has ended up to date, unless it has the result, which is copied last.

        Raises:
            UserError: if it cannot be written.
        """
        target = self.target
        if target is not None and not Storage(target.url).has(_RESULT):
            self.update()

    def _note(self) -> tuple[CopyTarget, object] | None:
        path = self._folder / NOTE
        try:
            note = json.loads(read_bounded(path, _MOST_BYTES))
            run = note.get("run", "")  # versions before noted the place alone
            return CopyTarget(str(note["url"]), run if is_id(run) else ""), note.get("hmac")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            problem = f"{path} cannot be read ({error.strerror or reason_of(error)})"
            raise UserError(problem, "mend that, or delete it to go on without a copy") from error
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged", "delete it to go on without a copy") from error

    def _noted_id(self) -> str | None:
        """The run's id, if the folder has had a copy. The user has named the place; the id is no secret."""
        if self._target is not None:
            return self._target.run
        noted = self._note()
        return noted[0].run or None if noted is not None else None

    def _signed(self, target: CopyTarget) -> str:
        return json.dumps([target.url, target.run, os.path.realpath(self._folder)])
