"""The copy of a run's folder, brought up to date while training goes on."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread

from synrl_ray.errors import UserError
from synrl_ray.running.folder_copy import FolderCopy


class ParallelCopy:
    """A thread for each update, one at a time.

    Rows and events may be added to the folder meanwhile. Whatever replaces files waits for the end first
    (:meth:`take`): else a copy could have parts of two checkpoints.

    Args:
        copy: of the run's folder; where there is none, nothing is done.
    """

    def __init__(self, copy: FolderCopy) -> None:
        self._copy = copy
        self._update: Future[None] | None = None

    def begin(self) -> None:
        """Bring the copy to what the folder holds now; no other update is under way."""
        self._update = Future()
        Thread(target=self._run, args=(self._update,), daemon=True).start()  # a place that hangs does not keep us

    def take(self, *, wait: bool) -> tuple[str, ...]:
        """Say what kept the newest update from its end; the next one tries again."""
        update = self._update
        if update is None or not (wait or update.done()):
            return ()
        self._update = None
        try:
            update.result()
        except UserError as error:
            return (error.message,)
        return ()

    def _run(self, update: Future[None]) -> None:
        try:
            self._copy.update()
        except BaseException as error:
            update.set_exception(error)
        else:
            update.set_result(None)
