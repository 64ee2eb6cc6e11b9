"""Connect to a Ray cluster, or start a local one that is quiet and ends with the process."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synrl_ray.cluster.head import environment_for
from synrl_ray.errors import UserError

_CONNECT_SECONDS = 5.0
_ATTEMPTS = 2


def limit_threads() -> None:
    """One thread for numerical libraries: small networks lose by threading. Call before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@contextmanager
def ray_session(address: str | None, *, num_workers: int, trainer_too: bool = False) -> Iterator[None]:
    """A Ray session for the block.

    Args:
        address: ``host:port`` of a running cluster, ``"auto"`` for the one on this machine; ``None`` starts a local
            one, unless ``RAY_ADDRESS`` names another (as it does inside a submitted job).
        num_workers: processes of their own that a run asks Ray for; each takes a CPU.
        trainer_too: the trainer is a task of Ray's as well, not this process.

    Raises:
        UserError: if nothing answers at the address, it has too few CPUs, or a local Ray does not start.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address:
        os.environ.update(environment_for(address))  # the token of a head of ours
    _quiet()
    import ray

    options = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if address is None or address == "local":
        _start_local(1 + num_workers, options)
    else:
        _require_listener(address)
        try:
            ray.init(address=address, **options)
        except Exception as error:
            problem = f"cannot join the Ray cluster at {address} ({_reason(error)})"
            raise UserError(problem, "check the address") from error
    try:
        if address not in (None, "local"):
            _require_cpus(num_workers + trainer_too)
        yield
    finally:
        ray.shutdown()


def _start_local(num_cpus: int, options: dict[str, Any]) -> None:
    """Start Ray here; it gives up on its own helpers after seconds, so a busy machine gets a second attempt."""
    import ray

    for attempt in range(_ATTEMPTS):
        try:
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",  # reachable from this machine only
                num_cpus=max(num_cpus, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=256 * 1024**2,
                **options,
            )
            return
        except Exception as error:  # Ray raises many types here
            ray.shutdown()
            if attempt + 1 == _ATTEMPTS:
                remedy = "look for processes that fill the machine, and try again"
                raise UserError(f"Ray did not start ({_reason(error)})", remedy) from error


def _require_cpus(needed: int) -> None:
    """Fail where Ray would wait for ever."""
    has = _cpus()
    if has < needed:
        remedy = "choose a smaller --num-workers, or add nodes"
        raise UserError(f"the Ray cluster has {has} CPUs, and a run needs {needed}", remedy)


def _cpus() -> int:
    """Of the cluster; one that scales itself counts with all the nodes that it may have."""
    import ray
    from ray._private.state import state

    largest = state.get_max_resources_from_cluster_config() or {}
    return int(max(ray.cluster_resources().get("CPU", 0), largest.get("CPU", 0)))


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _require_listener(address: str) -> None:
    """Fail within seconds where Ray itself would wait for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        if address == "auto":
            return
        raise UserError(f"{address!r} is no Ray address", "write host:port, as `ray start --head` prints it")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError, OverflowError) as error:
        raise UserError(f"no Ray at {address}", "start one with `synrl head start`, or leave --address out") from error


def _quiet() -> None:
    """Keep Ray's and RLlib's log noise away from the progress display."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="gymnasium")
    for name in ("ray", "ray.rllib", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
