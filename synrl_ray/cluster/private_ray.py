"""What makes a Ray on this machine this user's alone: loopback for every socket, a token, a folder closed to others.

Ray 2.60 binds its servers to all interfaces, whatever ``_node_ip_address`` says, unless clusters are switched off; that
switch is meant for desktop systems, and works on all of them. It must not reach a cluster of several hosts: its nodes
would look for one another on loopback.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synrl_ray.cluster.auth_token import ensure_token
from synrl_ray.cluster.private_folder import make_private_folder

CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
AUTH_MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_LOOPBACK_INTERFACES = ("lo", "lo0")


def private_environment(token_path: Path) -> dict[str, str]:
    """Return what every process of a Ray of this machine alone, and every client of it, must agree on."""
    return {
        AUTH_MODE: "token",
        TOKEN_PATH: str(token_path),
        # Ray then takes 127.0.0.1 for this machine's address: no socket listens beyond loopback. A client without it
        # would look for the head at the machine's outer address.
        CLUSTERS: "0",
    }


def loopback_collectives() -> dict[str, str]:
    """Return the variables that have learners in processes of their own listen for one another on loopback."""
    names = {name for _, name in socket.if_nameindex()} & set(_LOOPBACK_INTERFACES)
    return {variable: name for name in names for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}


@contextmanager
def private_ray() -> Iterator[Path]:
    """Prepare for a Ray of this process alone, started and ended within the block; yield the folder for its files.

    Raises:
        UserError: if no such folder can be made.
    """
    folder = make_private_folder()
    try:
        ensure_token(folder.path / "token")
        variables = {**private_environment(folder.path / "token"), **loopback_collectives()}
        with ray_environment({TOKEN: None, **variables}):
            yield folder.ray
    finally:
        folder.remove()


@contextmanager
def ray_environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables (``None`` removes one) for Ray and the processes that it starts within the block, then undo it."""
    names = {*variables, AUTH_MODE}  # Ray sets the latter itself
    before = {name: os.environ.get(name) for name in names}
    _set(variables)
    _tell_ray()
    try:
        yield
    finally:
        _set(before)
        _tell_ray()


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _tell_ray() -> None:
    """Have a Ray that was imported before read its variables again: it keeps them, and the token."""
    if "ray._raylet" not in sys.modules:
        return
    constants: Any = importlib.import_module("ray._private.ray_constants")
    raylet: Any = importlib.import_module("ray._raylet")
    constants.ENABLE_RAY_CLUSTER = constants.env_bool(CLUSTERS, not constants.IS_WINDOWS_OR_OSX)
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
