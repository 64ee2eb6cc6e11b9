"""The key that seals are made with: 32 random bytes that only this user can read.

It is made where it is first needed, in ``$XDG_CONFIG_HOME/synrl_ray`` (``~/.config/synrl_ray``). ``SYNRL_SEAL_KEY``
names another file, which is only read: a Secret of Kubernetes, say.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import open_regular, write_atomically, write_new

VARIABLE = "SYNRL_SEAL_KEY"
_BYTES = 32


def seal_key(*, create: bool) -> bytes | None:
    """This user's key.

    Args:
        create: make one where there is none, or where a full disk or a power cut has left a file of another size.

    Returns:
        ``None`` where there is none and none can be made; :func:`why_no_key` says why.

    Raises:
        UserError: for a key that other users can write or read, since they could seal in this user's name, and for a
            file named by ``SYNRL_SEAL_KEY`` that holds no key.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _named_key(Path(named))
    try:
        path = _home() / "checkpoint.key"
        key = _own_key(path)
        if key is None and create:
            key = _made_key(path)
        return key
    except (OSError, RuntimeError):
        return None


def why_no_key() -> str | None:
    """The reason why nothing can be sealed as this user's own; ``None`` where it can.

    Raises:
        UserError: as :func:`seal_key`.
    """
    if seal_key(create=True) is not None:
        return None
    try:
        _home().mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        return reason_of(error)
    return f"no key can be written in {_home()}"


def _home() -> Path:
    """The user's configuration folder; a RuntimeError where there is none."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "synrl_ray"


def _own_key(path: Path) -> bytes | None:
    """The key in that file; ``None`` where there is no file, or one that is no key."""
    try:
        file = open_regular(path)
    except (FileNotFoundError, ValueError):
        return None
    with file:
        status = os.fstat(file.fileno())
        if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o077:
            raise UserError(
                f"the key of your seals, {path}, can be read or written by others",
                "delete it: the next training makes a new one, and resuming runs that were sealed with this one takes "
                "--trust",
            )
        key = file.read(_BYTES + 1)
    return key if len(key) == _BYTES else None


def _made_key(path: Path) -> bytes | None:
    """A new key, or the one that another process of this user has made in the meantime."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = os.urandom(_BYTES)
    if path.exists():  # of another size
        write_atomically(path, key, mode=0o600)
    else:
        with suppress(FileExistsError):  # several runs may start at once: the first key is the key
            write_new(path, key, mode=0o600)
    try:
        return _own_key(path)
    except UserError:  # on a file system that keeps no modes no key is this user's alone
        if path.read_bytes() != key:
            raise
        path.unlink()
        return None


def _named_key(path: Path) -> bytes:
    """The key in a file that the user names; that group and others cannot write it is all that is asked."""
    remedy = f"let {VARIABLE} name a file of {_BYTES} random bytes, or unset it"
    try:
        with open_regular(path) as file:
            mode, key = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"the key of your seals, {path}, cannot be read ({reason_of(error)})", remedy) from error
    if mode & 0o022:
        raise UserError(f"the key of your seals, {path}, can be written by others", remedy)
    if len(key) != _BYTES:
        raise UserError(f"{path} holds no key of {_BYTES} bytes", remedy)
    return key
