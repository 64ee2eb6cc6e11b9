"""A seal on files: are they whole, and did this user make them?

A seal holds a SHA-256 over a list of everything that it covers, which tells a file that was cut short, changed, added
or lost, and an HMAC (RFC 2104) of that digest under a key that only this user has. RLlib's checkpoints are pickles:
loading one from a stranger can execute anything, and without the key a stranger cannot seal it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synrl_ray.files import read_bounded, write_atomically
from synrl_ray.policies.description import DESCRIPTION_FILE, WEIGHTS_FILE
from synrl_ray.running.seal_key import seal_key

FILE = "seal.json"
_FORMAT = 2
_MOST_BYTES = 4096
_POLICY, _POLICY_SEAL = (DESCRIPTION_FILE, WEIGHTS_FILE), "policy.seal.json"
_Entry = tuple[str, ...]


@dataclass(frozen=True)
class Seal:
    """What is known of files."""

    whole: bool
    """They are those that were sealed; true where there is no seal to tell."""
    own: bool
    """This user's key has sealed them."""


def seal(folder: Path, *, own: bool = True) -> None:
    """Seal everything in a folder, directories too. Without a key it is nobody's own.

    Args:
        folder: what is sealed.
        own: this user has made it; otherwise the seal tells damage only.

    Raises:
        UserError: for a key that others may know.
        ValueError: if the folder holds a link, a special file, or a name with control characters.
    """
    _write(folder / FILE, "checkpoint", _everything(folder), own=own)


def examine(folder: Path) -> Seal:
    """Compare a folder with its seal; one that holds what :func:`seal` refuses is not whole."""
    return _compare(folder / FILE, "checkpoint", lambda: _everything(folder))


def sign_files(folder: Path, names: Sequence[str], seal_file: str) -> None:
    """Seal some files of a folder that goes on changing, in a file of their own.

    Raises:
        OSError, ValueError: if one of them is missing or is no regular file.
        UserError: for a key that others may know.
    """
    _write(folder / seal_file, "files", _some(folder, names))


def examine_files(folder: Path, names: Sequence[str], seal_file: str) -> Seal:
    """Compare these files with the seal that :func:`sign_files` has written."""
    return _compare(folder / seal_file, "files", lambda: _some(folder, names))


def sign_policy(folder: Path) -> None:
    """Seal the policy in a run's folder as this user's own. It is data; the environment that it names is code."""
    sign_files(folder, _POLICY, _POLICY_SEAL)


def is_own_policy(folder: Path) -> bool:
    """Whether this user has sealed the policy in a run's folder, and it has not changed since."""
    return examine_files(folder, _POLICY, _POLICY_SEAL).own


def sign_text(purpose: str, text: str) -> str | None:
    """This user's HMAC of a text, for one purpose only; ``None`` without a key.

    Raises:
        UserError: for a key that others may know.
    """
    key = seal_key(create=True)
    return None if key is None else _hmac(key, purpose, text)


def is_own_text(purpose: str, text: str, signature: Any) -> bool:
    """Whether :func:`sign_text` of this user has given that signature.

    Raises:
        UserError: for a key that others may know.
    """
    key = seal_key(create=False)
    return key is not None and _equal(_hmac(key, purpose, text), signature)


def _write(path: Path, purpose: str, entries: Iterable[_Entry], *, own: bool = True) -> None:
    digest = _digest(entries)
    kept = {"format": _FORMAT, "sha256": digest, "hmac": sign_text(purpose, digest) if own else None}
    write_atomically(path, json.dumps(kept) + "\n")


def _compare(path: Path, purpose: str, entries: Callable[[], Iterable[_Entry]]) -> Seal:
    try:
        kept = json.loads(read_bounded(path, _MOST_BYTES))
        expected, own = kept["sha256"], kept["hmac"]
    except FileNotFoundError:
        return Seal(whole=True, own=False)
    except (KeyError, OSError, RecursionError, TypeError, ValueError):
        return Seal(whole=False, own=False)
    if kept.get("format") != _FORMAT:  # of a version whose digest was ambiguous: it proves nothing
        return Seal(whole=True, own=False)
    try:
        digest = _digest(entries())
    except (OSError, ValueError):
        return Seal(whole=False, own=False)
    whole = _equal(digest, expected)
    return Seal(whole=whole, own=whole and is_own_text(purpose, digest, own))


def _digest(entries: Iterable[_Entry]) -> str:
    """Of the sorted list as ASCII JSON, in which no name can imitate another entry."""
    return hashlib.sha256(json.dumps(sorted(entries), ensure_ascii=True).encode()).hexdigest()


def _everything(folder: Path) -> Iterable[_Entry]:
    for root, directories, files in os.walk(folder, onerror=_give_up):
        for name in (*directories, *files):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if relative == FILE:
                continue
            if not name.isprintable():
                raise ValueError(f"the name {relative!r} holds control characters")
            if stat.S_ISDIR(path.lstat().st_mode):
                yield "directory", relative
            else:
                yield "file", relative, _content(path)


def _some(folder: Path, names: Sequence[str]) -> Iterable[_Entry]:
    for name in names:
        yield "file", name, _content(folder / name)


def _content(path: Path) -> str:
    """The SHA-256 of a regular file; not of what a link leads to, and without waiting for a pipe's other end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is no regular file")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _give_up(error: OSError) -> None:
    raise error


def _hmac(key: bytes, purpose: str, text: str) -> str:
    return hmac.digest(key, f"synrl_ray seal {_FORMAT}\n{purpose}\n{text}".encode(), "sha256").hex()


def _equal(ours: str, theirs: Any) -> bool:
    return isinstance(theirs, str) and hmac.compare_digest(ours.encode(), theirs.encode(errors="replace"))
