"""The variables that a job is given beside its own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from synrl_ray.errors import UserError


def job_variables(entries: Sequence[str]) -> dict[str, str]:
    """Return what ``--env`` names: ``NAME=VALUE``, or ``NAME`` for the value that this program's environment has.

    The arguments of a process can be read by every user of its machine, its environment cannot.

    Raises:
        UserError: if an entry has no name, or a variable is not set here.
    """
    variables = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        if not name:
            raise UserError("--env has a value without a name", "write for instance SYNRL_DATA=/data")
        if not sign and name not in os.environ:
            raise UserError(f"--env {name}: no variable of that name is set here", f"write {name}=VALUE, or export it")
        variables[name] = value if sign else os.environ[name]
    return variables
