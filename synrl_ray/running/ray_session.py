"""Connect to a Ray cluster, or start a local one that is quiet and ends with the process."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from synrl_ray.cluster.head import joining_environment
from synrl_ray.cluster.job_server import is_loopback
from synrl_ray.cluster.private_ray import ray_environment
from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.running.gpus import NO_GPUS, Gpus, require_cuda, require_gpus
from synrl_ray.running.own_ray import QUIET, own_ray

_LAST_PORT = 65535
_CONNECT_SECONDS = 5.0


def limit_threads() -> None:
    """One thread for numerical libraries: small networks lose by threading. Call before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


@contextmanager
def ray_session(
    address: str | None, *, num_workers: int, trainer_too: bool = False, gpus: Gpus = NO_GPUS
) -> Iterator[None]:
    """A Ray session for the block.

    Args:
        address: ``host:port`` of a running cluster, ``"auto"`` for the one on this machine; ``None`` takes the Ray
            that this process has initialised, which goes on afterwards, or else starts a local one, unless
            ``RAY_ADDRESS`` names another (as it does inside a submitted job).
        num_workers: processes of their own that a run asks Ray for; each takes a CPU.
        trainer_too: the trainer is a task of Ray's as well, not this process.
        gpus: what the run learns on.

    Raises:
        UserError: if nothing answers at the address, it has too few CPUs or GPUs, a local Ray does not start, or an
            address is given where this process has initialised Ray.
    """
    _quiet()
    reserved = gpus
    if gpus.of_trainer and not trainer_too:  # this process learns, on a GPU of this machine
        require_cuda()
        reserved = NO_GPUS
    if _is_initialised():
        if address:
            remedy = "leave the address out, or call ray.shutdown() before"
            raise UserError(f"this process uses a Ray already, and cannot join the one at {address} too", remedy)
        _require(num_workers + trainer_too, reserved)
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is None or address == "local":
        if gpus.needed:
            require_gpus(gpus.needed, require_cuda(), "this machine")
        with own_ray(num_cpus=max(1 + num_workers, os.cpu_count() or 1)):
            yield
    else:
        _require_listener(address)
        with ray_environment(joining_environment(address)), _joined(address):
            _require(num_workers + trainer_too, reserved)
            yield


@contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    try:
        ray.init(address=address, **QUIET)
    except Exception as error:  # Ray raises many types here
        raise _not_joined(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _is_initialised() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _not_joined(address: str, error: Exception) -> UserError:
    """Something listens at the address: say what else is wrong."""
    reason, remedy = reason_of(error), "see whether it is a Ray head that listens there, and what its logs say"
    if "Version mismatch" in reason:
        remedy = "install the cluster's versions here"
    elif "uthenticat" in reason:
        remedy = "set RAY_AUTH_TOKEN_PATH to the token file of that cluster"
    return UserError(f"cannot join the Ray cluster at {address} ({reason})", remedy)


def _require(cpus: int, gpus: Gpus) -> None:
    """Fail where Ray would wait for ever."""
    has = _most("CPU")
    if has < cpus:
        remedy = "add nodes, or start a run with fewer --num-workers or --num-learners"
        raise UserError(f"the Ray cluster has {has} CPUs, and a run needs {cpus}", remedy)
    require_gpus(gpus.needed, _most("GPU"), "the Ray cluster")


def _most(resource: str) -> int:
    """Of the cluster; one that scales itself counts with all the nodes that it may have."""
    import ray
    from ray._private.state import state

    largest = state.get_max_resources_from_cluster_config() or {}
    return int(max(ray.cluster_resources().get(resource, 0), largest.get(resource, 0)))


def _require_listener(address: str) -> None:
    """Fail within seconds where Ray itself would wait for minutes."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal() or int(port) > _LAST_PORT:  # the system would count on from 0
        if address == "auto":
            return
        raise UserError(f"{address!r} is no Ray address", "write host:port, as `ray start --head` prints it")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        here = f"start one with `{command('head', 'start')}`, or leave --address out"
        remedy = here if is_loopback(host) else "check the address, and that this machine reaches it"
        raise UserError(f"no Ray at {address} ({reason_of(error)})", remedy) from error


def _quiet() -> None:
    """Keep Ray's and RLlib's log noise away from the progress display."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # what is called after the end must not start another Ray
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="gymnasium")
    for name in ("ray", "ray.rllib", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
