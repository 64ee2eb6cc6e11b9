"""Where data sets lie, and fetching a file once, checked before it counts."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import expanded, home_folder, read_bounded, write_atomically

MOST_BYTES = 2**27
"""Of a data set's file; the largest one has 10 MB."""
_TIMEOUT_SECONDS = 20.0


def data_folder() -> Path:
    """``SYNRL_DATA`` if set, else ``~/.cache/synrl_ray``."""
    named = os.environ.get("SYNRL_DATA")
    return expanded(named) if named else home_folder() / ".cache" / "synrl_ray"


def read_data(path: Path) -> bytes:
    """The content of a data set's file.

    Raises:
        FileNotFoundError: if it is not there.
        UserError: if it cannot be read, is no regular file, or is far too large.
    """
    try:
        return read_bounded(path, MOST_BYTES)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
        raise UserError(f"data file {path} cannot be read ({reason})", "mend or move it") from error


def md5(content: bytes) -> str:
    """Hexadecimal MD5, which is what the data sets' authors publish; it finds damage, not malice."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fetch(path: Path, urls: Iterable[str], is_intact: Callable[[bytes], bool]) -> bytes:
    """Read ``path``, or download it there from the first URL that serves an intact file.

    Args:
        path: where the file lies, or will.
        urls: where it can be had.
        is_intact: checks the content.

    Raises:
        UserError: if the file at hand is damaged, or none is at hand and none can be fetched.
    """
    if path.exists():
        content = read_data(path)
        if not is_intact(content):
            raise UserError(f"data file {path} is damaged (wrong checksum)", "delete it, so that it is fetched again")
        return content
    reason = "no address is known"
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
                content = response.read(MOST_BYTES)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", "") or reason_of(error))
            continue
        if is_intact(content):
            try:
                write_atomically(path, content)
            except OSError as error:
                problem = f"data file {path} cannot be written ({error.strerror or reason_of(error)})"
                raise UserError(problem, "set SYNRL_DATA to a folder that can be written") from error
            return content
        reason = f"{url} serves a damaged file"
    raise UserError(
        f"data file {path} is not there and cannot be fetched ({reason})",
        "set SYNRL_DATA to a folder that has it, or connect to the internet",
    )
