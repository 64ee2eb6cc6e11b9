"""What a Ray of this machine alone is told through the environment, and that nothing of it stays there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from synrl_ray.cluster import head
from synrl_ray.cluster import private_ray as module
from synrl_ray.cluster.head import joining_environment
from synrl_ray.cluster.private_ray import private_ray, ray_environment


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        monkeypatch.setenv("RAY_TMPDIR", short)
        monkeypatch.setattr(module, "_tell_ray", lambda: None)  # other tests' Ray in this process keeps its token
        yield Path(short)


def test_token_and_loopback_within_the_block_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    before = dict(os.environ)
    with private_ray() as folder:
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.parent == folder.parent
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
        assert os.environ["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
        assert "RAY_AUTH_TOKEN" not in os.environ
        first = token.read_text()
    assert dict(os.environ) == before
    assert list(root.iterdir()) == []
    with private_ray() as folder:
        assert (folder.parent / "token").read_text() != first


@pytest.mark.usefixtures("root")
def test_what_ray_sets_itself_is_undone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with ray_environment({}):
        os.environ["RAY_AUTH_MODE"] = "token"
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_ray_that_is_imported_hears_of_it() -> None:
    from ray._private import ray_constants, services

    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    with ray_environment({name: None}):  # whichever Ray runs in this process meanwhile
        with ray_environment({name: "0"}):
            assert services.get_node_ip_address() == "127.0.0.1"
        assert ray_constants.ENABLE_RAY_CLUSTER != ray_constants.IS_WINDOWS_OR_OSX


@pytest.mark.parametrize(
    ("address", "inherited", "changes"),
    [
        ("10.0.0.5:6379", "0", {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": None}),
        ("ray://head.example:10001", "0", {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": None}),
        ("10.0.0.5:6379", "1", {}),
        ("10.0.0.5:6379", None, {}),
        ("127.0.0.1:6379", "0", {}),  # a job of a head of ours whose state lies elsewhere
        ("auto", "0", {}),
    ],
)
def test_a_cluster_of_several_hosts_is_not_looked_for_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, inherited: str | None, changes: dict[str, None]
) -> None:
    monkeypatch.setattr(head, "default_state_dir", lambda: tmp_path)
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    if inherited is not None:
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", inherited)
    assert joining_environment(address) == changes
