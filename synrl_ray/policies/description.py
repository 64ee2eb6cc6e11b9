"""``policy.json``, which may come from a stranger: plain JSON of a bounded size."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import read_bounded
from synrl_ray.settings.checked import from_json

DESCRIPTION_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
_MOST_BYTES = 1024**2
_OF_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Format:
    """What files of a format hold."""

    kind: str
    """The kind of run that writes them."""
    holds: str
    """In words, with the article."""
    loader: str
    """The function that loads them, by its full name: other layers have some of them."""
    acts: bool = False
    """Whether what they hold acts by ``act(observations, state)``."""


FORMATS = {
    "1": Format("control", "a policy", "synrl_ray.policies.policy.load_network_policy", acts=True),
    "local-1": Format(
        "local", "an agent of local learning", "synrl_ray.policies.local.policy.load_local_policy", acts=True
    ),
    "hebbian-1": Format(
        "evolution", "an evolved policy", "synrl_ray.policies.hebbian.policy.load_hebbian_policy", acts=True
    ),
    "classifier-1": Format("classification", "a classifier", "synrl_ray.supervised.files.load_classifier"),
    "meta-1": Format("meta", "a meta-learner", "synrl_ray.meta.files.load_maml"),
}
"""Every format that ``policy.json`` may name."""


@dataclass(frozen=True)
class Description:
    """What ``policy.json`` says, read once."""

    folder: Path
    content: dict[str, Any]
    trusted: bool = False
    """Whether modules that it asks to import are imported."""

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def get(self, key: str, default: Any = None) -> Any:
        """What it says under a key, if anything."""
        return self.content.get(key, default)

    @property
    def file(self) -> Path:
        """Where it was read."""
        return self.folder / DESCRIPTION_FILE

    @property
    def format(self) -> Format:
        """The format of the folder's files.

        Raises:
            UserError: for one that is not known.
        """
        named = self.content.get("format")
        if str(named) not in FORMATS:
            raise UserError(f"{self.file} is damaged (format {named!r} is not known)", "restore it or train again")
        return FORMATS[str(named)]

    def load(self) -> Any:
        """What the folder holds, by the loader of its format.

        Raises:
            UserError: for damaged files, or a format that is not known.
        """
        module, _, function = self.format.loader.rpartition(".")
        return getattr(import_module(module), function)(self)

    def require_format(self, wanted: str | int) -> None:
        """Raise :class:`ValueError` for another format than a loader reads."""
        if self.content.get("format") != wanted:
            raise ValueError(f"format {self.content.get('format')!r} is not known")


def read_description(folder: str | Path | Description) -> Description:
    """What ``policy.json`` in a folder says; a description that has been read already is returned as it is.

    Raises:
        UserError: if the folder holds none, or what is no regular file, no JSON object, nested too deeply, or larger
            than one MiB.
    """
    if isinstance(folder, Description):
        return folder
    folder = Path(folder)
    _require_file(folder, DESCRIPTION_FILE)
    with damage_of(folder / DESCRIPTION_FILE):
        try:
            content = json.loads(read_bounded(folder / DESCRIPTION_FILE, _MOST_BYTES))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    _require_file(folder, WEIGHTS_FILE)
    return Description(folder, content)


def _require_file(folder: Path, name: str) -> None:
    if not (folder / name).exists():
        raise UserError(f"{folder} holds no {name}", "name the folder of a run that has trained, or train it first")


def described(description: Description, key: str, kind: Any) -> Any:
    """The settings under a key of a description, held to their types and bounds.

    Args:
        description: what ``policy.json`` says.
        key: where the settings are.
        kind: their class, or a type that is made of such.

    Raises:
        KeyError: if there are none.
        SettingError: naming a setting that is wrong, NaN or unknown.
    """
    return from_json(kind, description[key], key)


@contextmanager
def damage_of(file: Path, remedy: str = "restore it or train again") -> Iterator[None]:
    """Whatever goes wrong inside is that file's damage: one line that names it; not that nothing can be printed."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        UserError,
        ValueError,
    ) as error:
        if isinstance(error, OSError) and error.errno in _OF_OUTPUT:
            raise
        raise UserError(f"{file} is damaged ({reason_of(error)})", remedy) from error
