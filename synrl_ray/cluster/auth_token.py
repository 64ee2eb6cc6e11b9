"""The token that a Ray job server asks of its clients: made once, kept in a file only its owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from synrl_ray.errors import UserError
from synrl_ray.files import expanded, home_folder, write_new

_RAY_DEFAULT = Path(".ray", "auth_token")
"""In the user's home."""


def ensure_token(path: Path) -> str:
    """Return the token in ``path``; write a new one, whole and of mode 0600 from the beginning, if there is none.

    A token that others could read is replaced. Its folder becomes the owner's alone.
    """
    try:
        _make_private(path.parent)
        if _open_to_others(path):
            path.unlink()
        token = secrets.token_hex(32)
        write_new(path, token, mode=0o600)
        return token
    except FileExistsError:
        return read_token(path)
    except OSError as error:
        raise UserError(
            f"cannot write the token file {path}: {error.strerror}", "choose another state directory"
        ) from error


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # also one that was there


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o077)
    except FileNotFoundError:
        return False


def read_token(path: Path) -> str:
    """Read a token file.

    Raises:
        UserError: if it cannot be read or holds nothing.
    """
    try:
        token = expanded(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(
            f"cannot read the token file {path}: {reason}", "make it readable to you alone: chmod 600, chown"
        ) from error
    if not token:
        raise UserError(f"the token file {path} is empty", "delete it and start the head again")
    return token


def token_from_environment() -> str | None:
    """Return the token that Ray itself would take, in its order: the variable, the named file, the default file."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return read_token(Path(named))
    try:
        default = home_folder() / _RAY_DEFAULT
    except UserError:
        return None
    if not default.is_file():
        return None
    if _open_to_others(default):  # as Ray itself writes it
        with contextlib.suppress(OSError):
            default.chmod(0o600)
    return read_token(default)
