"""What whoever watches may ask for; screens of other threads ask too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SLOWEST, FASTEST = 1 / 16, 64.0
_SLICE_SECONDS = 0.02
"""How long keys and clicks may wait."""


class Controls:
    """Speed, pause, next episode and its seed.

    Attributes:
        speed: times the environment's own.
        is_paused: whether the episode stands still.
        is_closed: whether nobody wants to see more.
    """

    def __init__(self) -> None:
        self.speed = 1.0
        self.is_paused = self.is_closed = False
        self._lock = threading.Lock()
        self._skips = False
        self._seed: int | None = None

    def faster(self, factor: float) -> None:
        """Multiply the speed."""
        self.speed = min(FASTEST, max(SLOWEST, self.speed * factor))

    def toggle_pause(self) -> None:
        """Stand still, or go on."""
        self.is_paused = not self.is_paused

    def next_episode(self, seed: int | None = None) -> None:
        """End this episode; the next one has this seed, or the next number."""
        with self._lock:
            self._skips, self._seed = True, seed

    def close(self) -> None:
        """End all."""
        self.is_closed = True

    def take_seed(self, after: int) -> int:
        """Of the episode that begins now, the one that was asked for or the next one; what ended the last is done."""
        with self._lock:
            asked, self._seed, self._skips = self._seed, None, False
        return after + 1 if asked is None else asked

    def wait(self, seconds: float, began: float, listen: Callable[[], None]) -> bool:
        """Let a frame be looked at until so long after it began, longer where all stands still.

        Args:
            seconds: at a speed of 1.
            began: by :func:`time.monotonic`.
            listen: hears keys and clicks; called often.

        Returns:
            Whether the episode goes on.
        """
        while True:
            listen()
            if self.is_closed or self._skips:
                return False
            left, is_paused = began + seconds / self.speed - time.monotonic(), self.is_paused
            if left <= 0 and not is_paused:
                return True
            time.sleep(_SLICE_SECONDS if is_paused else min(_SLICE_SECONDS, left))  # others may press keys meanwhile
