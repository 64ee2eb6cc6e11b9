"""Find a Ray job server and ask whether it lives, within seconds and without importing Ray."""

from __future__ import annotations

import http.client
import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from synrl_ray.cluster.auth_token import read_token, token_from_environment
from synrl_ray.commands import command
from synrl_ray.errors import UserError

DEFAULT_PORT = 8265
PROBE_SECONDS = 5.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def resolve_address(address: str | None, head_address: str | None = None) -> str:
    """Return the job server's URL: the given one, else that of the environment, else the local head's.

    Args:
        address: what the user named: ``host:port`` or an http(s) URL.
        head_address: the URL of the head that this project started, if one runs.
    """
    environment = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    if address is None and environment.startswith(("http://", "https://")):
        address = environment
    if address is None:
        return head_address or f"http://127.0.0.1:{DEFAULT_PORT}"
    url = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"{address!r} is no job server address", "give host:port, for example 127.0.0.1:8265")
    return url.rstrip("/") if parts.port else f"{parts.scheme}://{parts.netloc}:{DEFAULT_PORT}"


def same_server(one: str, other: str) -> bool:
    """Return whether two URLs name the same server; every loopback name is the same host."""
    a, b = urlsplit(one), urlsplit(other)
    same_host = a.hostname == b.hostname or (is_loopback(a.hostname) and is_loopback(b.hostname))
    return same_host and a.port == b.port


def is_loopback(host: str | None) -> bool:
    """Return whether ``host`` is a name of this machine that no other machine reaches."""
    return host in LOOPBACK


def token_for(address: str, head_address: str | None, head_token: Path | None) -> str | None:
    """Return the token for a job server: the local head's own file, or what Ray's environment names."""
    if head_address and head_token and same_server(address, head_address):
        return read_token(head_token)
    return token_from_environment()


def probe(address: str, token: str | None, *, timeout_s: float = PROBE_SECONDS) -> str:
    """Return the Ray version that answers at ``address``.

    Raises:
        UserError: if nothing answers, something else answers, or the token is not the server's.
    """
    request = urllib.request.Request(f"{address}/api/version", headers=authorization(token))
    handlers = [urllib.request.ProxyHandler({})] if is_loopback(urlsplit(address).hostname) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
            return str(json.load(response)["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            what = "asks for a token" if error.code == 401 else "does not accept the token"
            raise UserError(
                f"the job server at {address} {what}",
                "set RAY_AUTH_TOKEN_PATH to the token file of that cluster",
            ) from error
        raise UserError(
            f"{address} is no Ray job server (it answered {error.code})",
            "check the address: the port is the dashboard's",
        ) from error
    except (ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise UserError(f"{address} is no Ray job server", "check the address: the port is the dashboard's") from error
    except OSError as error:  # refused, unreachable, unknown host, timed out
        reason = getattr(error, "reason", error)
        raise UserError(
            f"no Ray head answers at {address} ({getattr(reason, 'strerror', None) or reason})",
            f"start one on this machine with `{command('head', 'start')}`, or give the address of one with --address",
        ) from error


def authorization(token: str | None) -> dict[str, str]:
    """Return the HTTP header that carries ``token``."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return ports that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server could listen on ``port`` now."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True
