"""Which files of a project are likely to hold secrets, and belong neither into a job's package nor into an image.

The list is of exact names and of endings that stand for keys. No name is in it that a module or a data set may have.
"""

from __future__ import annotations

import os
import re
import stat
from fnmatch import translate
from pathlib import Path, PurePath

SECRET_FILES = (
    # variables with passwords
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    # keys, certificates with keys, and stores of them
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.ppk",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".ssh",
    ".gnupg",
    # accounts of clouds, clusters and registries
    ".aws",
    ".azure",
    ".kube",
    ".config/gcloud",
    ".docker/config.json",
    ".dockercfg",
    ".boto",
    ".s3cfg",
    "kubeconfig",
    "credentials.json",
    "application_default_credentials.json",
    "client_secret*.json",
    "kaggle.json",
    # passwords and tokens of programs
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".vault-token",
    "auth_token",
)
# Programs of other systems write these endings in capitals too.
SECRET_PATTERNS = (*SECRET_FILES, *(name.upper() for name in SECRET_FILES if name.startswith("*.")))
_SECRET = re.compile("|".join(rf"(?:.*/)?{translate(name)}" for name in SECRET_FILES), re.IGNORECASE | re.DOTALL)


def gitignore_patterns() -> tuple[str, ...]:
    """Return the list as Ray's excludes and ``.rayignore`` write it, to be found at any depth."""
    return tuple(f"**/{name}" if "/" in name else name for name in SECRET_PATTERNS)


def reason_to_leave_out(path: Path, root: Path) -> str | None:
    """Return why a file or folder must not be sent, if so, whatever the case of its name.

    Args:
        path: a path below ``root``; a link is judged by what it points to as well.
        root: the project's folder, without links in its own path.
    """
    if _SECRET.fullmatch(path.relative_to(root).as_posix()):
        return "may hold secrets"
    if path.is_symlink():
        return _reason_against_link(path, root)
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return "no regular file"
    return None if _is_text(path.name) else "a name that is no text"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reason_against_link(path: Path, root: Path) -> str | None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link to nothing"
    if not target.is_relative_to(root):
        return "a link out of the project"
    below = target.relative_to(root)
    if any(_SECRET.fullmatch(str(PurePath(*below.parts[: n + 1]))) for n in range(len(below.parts))):
        return "a link to what may hold secrets"
    return "a link to a folder around it" if os.path.commonpath([target, path]) == str(target) else None
