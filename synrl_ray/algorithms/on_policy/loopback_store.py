"""Learners in processes of their own meet at a store that the first one serves: on loopback where that is enough."""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

# Not an attribute of torch.distributed: there, the function of the same name hides the module.
_rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")
_TCPStore = _rendezvous.TCPStore
_LOOPBACK = ("127.0.0.1", "::1")


def serve_stores_on_loopback() -> None:
    """Have this process's stores listen at the address that the others are told, where it is loopback.

    Torch listens on all interfaces whatever that address is, but takes a socket that listens already.
    """
    _rendezvous.TCPStore = _store


def _store(host_name: str, port: int, world_size: int, is_master: bool = False, **options: Any) -> Any:
    if host_name in _LOOPBACK:  # NCCL, by which learners on GPUs speak, opens sockets of its own
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    if is_master and host_name in _LOOPBACK:
        family = socket.AF_INET6 if ":" in host_name else socket.AF_INET
        options["master_listen_fd"] = socket.create_server((host_name, port), family=family).detach()
    return _TCPStore(host_name, port, world_size, is_master, **options)
