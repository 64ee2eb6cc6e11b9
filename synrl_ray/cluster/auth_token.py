"""The token that a Ray job server asks of its clients: made once, kept in a file only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from synrl_ray.errors import UserError

RAY_DEFAULT_PATH = Path("~/.ray/auth_token")


def ensure_token(path: Path) -> str:
    """Return the token in ``path``; write a new one, mode 0600 from its first byte, if there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = read_token(path)
        path.chmod(0o600)
        return token
    except OSError as error:
        raise UserError(
            f"cannot write the token file {path}: {error.strerror}", "choose another state directory"
        ) from error
    with os.fdopen(handle, "w") as file:
        token = secrets.token_hex(32)
        file.write(token)
    return token


def read_token(path: Path) -> str:
    """Read a token file.

    Raises:
        UserError: if it cannot be read or holds nothing.
    """
    try:
        token = path.expanduser().read_text().strip()
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
    default = RAY_DEFAULT_PATH.expanduser()
    return read_token(default) if default.is_file() else None
