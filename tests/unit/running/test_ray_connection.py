"""Which Ray is asked for; Ray itself is replaced here."""

import os
import socket
import sys
from types import SimpleNamespace

import pytest

from synrl_ray.cluster import private_ray
from synrl_ray.errors import UserError
from synrl_ray.running import ray_session as module
from synrl_ray.running.ray_session import limit_threads, ray_session


@pytest.fixture
def calls(monkeypatch):
    """What is asked of Ray, in order."""
    log = []
    fake = SimpleNamespace(
        init=lambda **options: log.append(("init", options)),
        shutdown=lambda: log.append(("shutdown", {})),
        is_initialized=lambda: False,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(module, "_quiet", lambda: None)
    monkeypatch.setattr(private_ray, "_tell_ray", lambda: None)  # other tests' Ray in this process keeps its token
    monkeypatch.setattr(module, "_most", lambda resource: 3)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return log


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def use(address, num_workers=0, **options):
    with ray_session(address, num_workers=num_workers, **options):
        pass


@pytest.mark.parametrize("address", [None, "", "local"])
def test_without_an_address_a_local_ray_is_started_and_ended(calls, address):
    use(address, num_workers=999)
    assert [name for name, _ in calls] == ["init", "shutdown"]
    options = calls[0][1]
    assert (options["address"], options["num_cpus"], options["include_dashboard"]) == ("local", 1000, False)


def test_local_ray_offers_at_least_the_cpus_of_the_machine(calls):
    use(None)
    assert calls[0][1]["num_cpus"] == max(1, os.cpu_count() or 1)


def test_address_of_a_cluster_is_joined_and_left(calls, listener):
    use(listener)
    assert [name for name, _ in calls] == ["init", "shutdown"]
    assert calls[0][1]["address"] == listener
    assert "num_cpus" not in calls[0][1]


@pytest.mark.parametrize(("num_workers", "trainer_too"), [(3, False), (2, True)])
def test_cluster_with_as_many_cpus_as_a_run_needs_is_used(calls, listener, num_workers, trainer_too):
    use(listener, num_workers, trainer_too=trainer_too)
    assert [name for name, _ in calls] == ["init", "shutdown"]


@pytest.mark.parametrize(("num_workers", "trainer_too"), [(4, False), (3, True)])
def test_cluster_with_fewer_cpus_is_left_with_both_figures_told(calls, listener, num_workers, trainer_too):
    with pytest.raises(UserError, match="has 3 CPUs, and a run needs 4"):
        use(listener, num_workers, trainer_too=trainer_too)
    assert [name for name, _ in calls] == ["init", "shutdown"]


def test_a_ray_of_this_process_is_used_and_goes_on(calls, monkeypatch):
    """It was shut down: what else used it, in a notebook, was at an end."""
    monkeypatch.setattr(sys.modules["ray"], "is_initialized", lambda: True)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    use(None, num_workers=3)
    with pytest.raises(UserError, match="has 3 CPUs, and a run needs 4"):
        use(None, num_workers=4)
    with pytest.raises(UserError, match="uses a Ray already, and cannot join the one at local too — leave the address"):
        use("local")
    assert calls == []


def test_address_in_the_environment_counts_as_given(calls, listener, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", listener)
    use(None)
    assert calls[0][1]["address"] == listener


def test_address_that_is_given_goes_before_the_environment(calls, listener, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    use(listener)
    assert calls[0][1]["address"] == listener


def test_session_ends_with_an_error_in_its_block(calls):
    with pytest.raises(ValueError, match="inside"), ray_session(None, num_workers=0):
        raise ValueError("inside")
    assert [name for name, _ in calls] == ["init", "shutdown"]


@pytest.mark.parametrize(
    "address", ["nonsense", ":", "host:", "127.0.0.1", "host:port", "127.0.0.1:6.5", "127.0.0.1:99999"]
)
def test_malformed_address_is_refused_at_once(calls, address):
    with pytest.raises(UserError, match="is no Ray address") as caught:
        use(address)
    assert repr(address) in caught.value.message
    assert calls == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "head..node:6379"])
def test_address_where_nothing_listens_is_refused_at_once(calls, address):
    with pytest.raises(UserError, match="Ray") as caught:
        use(address)
    assert address in caught.value.message
    assert calls == []


def test_cluster_that_refuses_is_reported_in_one_line(calls, listener, monkeypatch):
    def refuse(**options):
        raise RuntimeError("wrong version\nof everything")

    monkeypatch.setattr(sys.modules["ray"], "init", refuse)
    with pytest.raises(UserError) as caught:
        use(listener)
    assert caught.value.message == f"cannot join the Ray cluster at {listener} (wrong version of everything)"
    assert "address" not in caught.value.remedy, "something listens there"


MISMATCH = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9.1\nThis process has Ray: 2.60.0"
)


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        (MISMATCH, " ".join(MISMATCH.split()), "install the cluster's versions here"),
        (
            "Token authentication is enabled but the authentication token is invalid or incorrect.\n" + "more " * 60,
            "Token authentication is enabled but the authentication token is invalid or incorrect.",
            "set RAY_AUTH_TOKEN_PATH to the token file of that cluster",
        ),
    ],
)
def test_cluster_that_refuses_for_a_reason_is_not_blamed_on_its_address(
    calls, listener, monkeypatch, said, reason, remedy
):
    def refuse(**options):
        raise RuntimeError(said)

    monkeypatch.setattr(sys.modules["ray"], "init", refuse)
    with pytest.raises(UserError) as caught:
        use(listener)
    assert caught.value.message == f"cannot join the Ray cluster at {listener} ({reason})"
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(
    ("address", "message", "remedy"),
    [
        ("127.0.0.1:1", "no Ray at 127.0.0.1:1 (Connection refused)", "start one with `synrl head start`"),
        ("no.such.host.invalid:6379", "no Ray at no.such.host.invalid:6379 (", "check the address, and that this"),
    ],
)
def test_where_nothing_listens_the_systems_reason_is_told(calls, address, message, remedy):
    with pytest.raises(UserError) as caught:
        use(address)
    assert caught.value.message.startswith(message)
    assert caught.value.remedy.startswith(remedy)


def test_threads_are_limited_but_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    limit_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("7", "1")


def test_a_port_beyond_the_last_one_is_not_counted_on_from_0(calls, listener):
    host, _, port = listener.rpartition(":")
    with pytest.raises(UserError, match="is no Ray address"):
        use(f"{host}:{int(port) + 65536}")
    assert calls == []
