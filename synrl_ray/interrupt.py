"""Ctrl-C ends a run with a checkpoint: after the iteration, or at once where that would last and loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_entered: list[StopRequest] = []
"""Those whose handlers are installed, the innermost last: signals belong to a process, not to an object in it."""


class StopRequest:
    """Context manager that notes the first SIGINT or SIGTERM; the second one interrupts.

    The first one interrupts, too, within :func:`breakable`.
    """

    def __init__(self) -> None:
        self._number = 0
        self._breakable = 0
        self._previous: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the user wants an end."""
        return self._number > 0

    @property
    def is_first(self) -> bool:
        """Whether the user has said so once: there is time to save."""
        return self._number == 1

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
            _entered.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous:
            _entered.remove(self)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number += 1
        if self._number > 1 or self._breakable:
            raise KeyboardInterrupt

    @contextmanager
    def _broken_off(self) -> Iterator[None]:
        self._breakable += 1
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._breakable -= 1


@contextmanager
def breakable() -> Iterator[None]:
    """Let the first Ctrl-C break the block off by ``KeyboardInterrupt``, and do not begin it after one.

    For work that may last and whose loss leaves nothing half done. Without a :class:`StopRequest` around it, Ctrl-C
    interrupts anyway.
    """
    if not _entered:
        yield
        return
    with _entered[-1]._broken_off():
        yield
