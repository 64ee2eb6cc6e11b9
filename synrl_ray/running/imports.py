"""Which modules the files of others may have imported: making an environment imports the module that it is in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment
from synrl_ray.policies.description import DESCRIPTION_FILE, Description
from synrl_ray.running.seal import examine_files, is_own_policy, sign_files


def admit_policy(environment: Environment, folder: Path, *, trust: bool) -> None:
    """Say which module the environment of a folder's policy imports, before it does.

    Raises:
        UserError: if nothing shows that this user made the policy, and whoever did is not trusted; not for modules of
            this project, of Gymnasium and of ale-py.
    """
    module = foreign_module(environment.id, environment.kwargs)
    admit_modules_of_policy([] if module is None else [module], folder, trust=trust)


def admit_modules_of_policy(modules: Iterable[str], folder: Path, *, trust: bool) -> None:
    """The same of any modules that a folder's policy has imported.

    Raises:
        UserError: as :func:`admit_policy`.
    """
    for module in modules:
        _admit(module, folder / DESCRIPTION_FILE, trust=trust or is_own_policy(folder))


def admit_network(description: Description, *, trust: bool) -> Description:
    """The description of a policy, which may have the module of its network imported; says which, if there is one.

    Raises:
        UserError: as :func:`admit_policy`.
    """
    policy = description.get("policy")
    network = policy.get("network") if isinstance(policy, dict) else None
    if network is not None:
        module = str(network).partition(":")[0]
        _admit(module, description.file, trust=trust or is_own_policy(description.folder))
    return replace(description, trusted=network is not None)


def admit_modules(modules: Iterable[str], file: Path, *, trust: bool) -> None:
    """Say which modules are imported because a run's or a study's file asks for them, before they are.

    Raises:
        UserError: as :func:`admit_policy`; the file is this user's if :func:`sign_modules` has sealed it.
    """
    for module in modules:
        _admit(module, file, trust=trust or examine_files(file.parent, (file.name,), _seal_of(file)).own)


def sign_modules(modules: Iterable[str], file: Path) -> None:
    """Seal such a file as this user's, if it asks to import a module, so that a resumption needs no trust.

    Raises:
        UserError: for a key that others may know.
    """
    if list(modules):
        sign_files(file.parent, (file.name,), _seal_of(file))


def announce_import(module: str, file: Path) -> None:
    """Name a module that is imported because a file asks for it."""
    print(f"synrl: imports {module!r}, as {file} asks", file=sys.stderr, flush=True)


def announce_imports(modules: Iterable[str], settings: Mapping[str, Any], file: Path) -> None:
    """Name those modules that the settings of a file ask for, and nobody else."""
    text = json.dumps(settings)
    for module in sorted(modules):
        if json.dumps(module)[1:-1] in text:
            announce_import(module, file)


def _admit(module: str, file: Path, *, trust: bool) -> None:
    if not trust:
        problem = f"{file} asks to import the module {module!r}, and nothing shows that you made it on this machine"
        raise UserError(problem, "if you trust whoever made it, add --trust")
    announce_import(module, file)


def _seal_of(file: Path) -> str:
    return f"{file.stem}.seal.json"
