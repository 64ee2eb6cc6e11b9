"""A seal on a checkpoint: is it whole, and was it made by this user?

The seal holds a SHA-256 of all files of the checkpoint, which tells a file that was cut short or changed, and an
HMAC (RFC 2104) of that digest under a key that only this user has. RLlib's checkpoints are pickles: loading one from a
stranger can execute anything, and without the key a stranger cannot seal it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from synrl_ray.files import write_atomically

FILE = "seal.json"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Seal:
    """What is known of a checkpoint."""

    whole: bool
    """Its files are those that were sealed; true where there is no seal to tell."""
    own: bool
    """This user's key has sealed them."""


def seal(folder: Path) -> None:
    """Seal all files in a folder. Without a key, which needs a home folder that can be written, it is nobody's own."""
    digest = _digest(folder)
    key = _key(create=True)
    own = None if key is None else hmac.digest(key, digest.encode(), "sha256").hex()
    write_atomically(folder / FILE, json.dumps({"sha256": digest, "hmac": own}) + "\n")


def examine(folder: Path) -> Seal:
    """Compare a folder with its seal."""
    try:
        kept = json.loads((folder / FILE).read_text())
        expected, own = str(kept["sha256"]), str(kept["hmac"])
    except FileNotFoundError:
        return Seal(whole=True, own=False)  # of a version without seals
    except (KeyError, OSError, TypeError, ValueError):
        return Seal(whole=False, own=False)
    digest, key = _digest(folder), _key(create=False)
    whole = hmac.compare_digest(digest.encode(), expected.encode())
    if key is None or not whole:
        return Seal(whole=whole, own=False)
    return Seal(whole=True, own=hmac.compare_digest(hmac.digest(key, digest.encode(), "sha256").hex(), own))


def _digest(folder: Path) -> str:
    """Of names and contents, in order."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / FILE):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _key(create: bool) -> bytes | None:
    """The user's key; ``None`` where there is none."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    path = Path(home) / "synrl_ray" / "checkpoint.key"
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(draft, path)  # several runs may start at once: the first key is the key
            draft.unlink()
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None
