"""Where data sets lie, and fetching a file once, checked before it counts."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.files import write_atomically

_TIMEOUT_SECONDS = 20.0


def data_folder() -> Path:
    """``SYNRL_DATA`` if set, else ``~/.cache/synrl_ray``."""
    named = os.environ.get("SYNRL_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "synrl_ray"


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
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"data file {path} cannot be read ({error.strerror})", "mend or move it") from error
        if not is_intact(content):
            raise UserError(f"data file {path} is damaged (wrong checksum)", "delete it, so that it is fetched again")
        return content
    reason = "no address is known"
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
                content = response.read()
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", error))
            continue
        if is_intact(content):
            try:
                write_atomically(path, content)
            except OSError as error:
                problem = f"data file {path} cannot be written ({error.strerror})"
                raise UserError(problem, "set SYNRL_DATA to a folder that can be written") from error
            return content
        reason = f"{url} serves a damaged file"
    raise UserError(
        f"data file {path} is not there and cannot be fetched ({reason})",
        "set SYNRL_DATA to a folder that has it, or connect to the internet",
    )
