"""Which modules the files of others may have imported: evaluating a policy makes the environment that it names."""

from __future__ import annotations

import sys
from pathlib import Path

from synrl_ray.envs.registration import foreign_module
from synrl_ray.errors import UserError
from synrl_ray.experiment import Environment
from synrl_ray.policies.description import DESCRIPTION_FILE
from synrl_ray.running.seal import is_own_policy


def admit_environment(environment: Environment, folder: Path, *, trust: bool) -> None:
    """Say which module the environment of a folder's policy imports, before it does.

    Raises:
        UserError: if the folder was made by someone else, who is not trusted; not for modules of this project, of
            Gymnasium and of ale-py.
    """
    module = foreign_module(environment.id, environment.kwargs)
    if module is None:
        return
    file = folder / DESCRIPTION_FILE
    if not trust and not is_own_policy(folder):
        problem = f"{file} was not made by you on this machine, and asks to import the module {module!r}"
        raise UserError(problem, "if you trust whoever made it, add --trust")
    announce_import(module, file)


def announce_import(module: str, file: Path) -> None:
    """Name a module that is imported because a file asks for it."""
    print(f"synrl: imports {module!r}, as {file} asks", file=sys.stderr, flush=True)
