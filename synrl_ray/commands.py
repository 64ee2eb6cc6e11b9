"""Commands that a user can paste into a shell, whatever the paths and the terminal."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path


def command(*words: str | Path) -> str:
    """A ``synrl`` command that a shell takes apart into exactly these words.

    A path that begins with a dash is written ``./-name``, for it would be read as an option. A word that a terminal
    cannot show as it is, such as one with a line break or with letters that its encoding lacks, is written ``$'…'``.
    """
    return " ".join([_program(), *map(quoted, words)])


def quoted(word: str | Path) -> str:
    """One word of a command; see :func:`command`."""
    text = f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word)
    if text.isprintable() and all(_can_show(text, stream) for stream in (sys.stdout, sys.stderr)):
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, os.fsencode(text))) + "'"


def _program() -> str:
    """How to start this program: by its name where the shell finds it, else as it was started now."""
    if shutil.which("synrl") is None:
        started = sys.argv[0]
        if Path(started).name == "synrl":
            return quoted(started)
        if Path(started) == Path(__file__).with_name("__main__.py"):
            return f"{quoted(sys.executable)} -m synrl_ray"
    return "synrl"


def _can_show(text: str, stream: object) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _escaped(byte: int) -> str:
    character = chr(byte)
    return character if re.fullmatch(r"[\w./:=,@%+ -]", character, re.ASCII) else f"\\x{byte:02x}"
