"""Where the store listens at which learners meet."""

from __future__ import annotations

import importlib
import os
import socket
from datetime import timedelta

import psutil
import pytest

from synrl_ray.algorithms.on_policy.loopback_store import serve_stores_on_loopback

rendezvous = importlib.import_module("torch.distributed.rendezvous")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "")  # undone afterwards
    monkeypatch.delenv("NCCL_SOCKET_IFNAME")
    monkeypatch.setattr(rendezvous, "TCPStore", rendezvous.TCPStore)  # undone afterwards
    serve_stores_on_loopback()


def listening(port: int) -> list[str]:
    connections = psutil.Process().net_connections(kind="tcp")
    return [each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN and each.laddr.port == port]


@pytest.mark.usefixtures("served")
def test_the_first_learner_listens_on_loopback_and_the_second_finds_it() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = (
        rendezvous._create_c10d_store("127.0.0.1", port, rank, None, timedelta(seconds=60), True) for rank in (0, 1)
    )
    first.set("name", "value")
    assert second.get("name") == b"value"
    assert listening(port) == ["127.0.0.1"]
    assert os.environ["NCCL_SOCKET_IFNAME"] == "lo"  # what learners on GPUs open besides
