"""Standard output and error, whatever they are: any encoding, any width, closed early, full or not there at all."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from typing import Any, TextIO, cast

_PLAIN = {
    "—": "-", "–": "-", "…": "...", "±": "+/-", "×": "x", "→": "->", "↑": "^", "↓": "v", "≥": ">=", "≤": "<=",
    "≈": "~", "µ": "u", "·": ".", "•": "*", "‘": "'", "’": "'", "“": '"', "”": '"', "\xa0": " ",
}  # fmt: skip
_LEAST_COLUMNS = 40  # of help: below, names of options would be cut
_HANDLER = "synrl-plain"


def adapt_streams() -> None:
    """Let both streams write what their encoding lacks in plain letters, and nothing where they are closed."""
    codecs.register_error(_HANDLER, cast(Any, _in_plain_letters))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def help_console() -> Any:
    """A console that is wide enough for help; ``None`` where the usual one is."""
    if shutil.get_terminal_size().columns >= _LEAST_COLUMNS:
        return None
    from rich.console import Console

    return Console(width=_LEAST_COLUMNS)


def give_up(stream: TextIO) -> None:
    """Write nothing more to a stream that nobody reads or whose disk is full; Python would try again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # not a file of the system
        return


class Lasting:
    """A stream for progress: when it breaks, the work that it tells of goes on in silence.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, as long as that works."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, as long as that works."""
        self._try(self._stream.flush)

    def _try(self, action: Any) -> None:
        if self._broken:
            return
        try:
            action()
        except (OSError, ValueError):  # gone, full, or closed
            self._broken = True
            give_up(self._stream)


def _in_plain_letters(error: UnicodeEncodeError) -> tuple[str | bytes, int]:
    """What stands for characters that the encoding lacks. The bytes of a file name that is no text stay as they are."""
    missing = error.object[error.start : error.end]
    if all("\udc80" <= c <= "\udcff" for c in missing):
        return missing.encode("utf-8", "surrogateescape"), error.end
    plain = "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing)
    return plain, error.end
