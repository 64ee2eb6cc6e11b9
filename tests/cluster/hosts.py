"""Hosts on one machine: network namespaces with addresses of their own, and an SSH server in each.

Each host has its own name, home, ``/tmp``, shared memory and processes (``ray stop`` ends all it sees); the rest of
the file system is this machine's. They reach one another and this machine, nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

GATEWAY = "10.213.7.254"
_BRIDGE = "synrl-br0"
_TOOLS = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare")
_OWN = ("unshare", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
_START = """
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp && chmod 1777 /tmp
mount -t tmpfs tmpfs /dev/shm && chmod 1777 /dev/shm
mount --bind {folder}/passwd /etc/passwd
mkdir -p /run/sshd
hostname {name}
exec {sshd} -D -e -f {folder}/sshd_config
"""


def what_is_missing() -> str | None:
    """Why no hosts can be made here, if they cannot."""
    missing = [tool for tool in _TOOLS if _which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed"
    if os.geteuid() != 0 or subprocess.run([*_OWN, "--net", "true"], capture_output=True).returncode:
        return "network namespaces need root's privileges"
    return None


@dataclass(frozen=True)
class Host:
    """One host."""

    name: str
    address: str
    folder: Path
    """Its home is ``home`` in there, readable from this machine."""
    server: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        """Its user's home."""
        return self.folder / "home"

    def unplug(self) -> None:
        """Cut it off from the network, as if its cable was pulled."""
        _run("ip", "link", "set", f"{self.name}-br", "down")


class Hosts:
    """A network of hosts, gone at the end of the block.

    Args:
        names: of the hosts, short.
        base: an empty folder, outside of ``/tmp``.
    """

    def __init__(self, names: list[str], base: Path) -> None:
        self.names, self.base = names, base
        self.hosts: list[Host] = []
        self.key = base / "key"

    def __enter__(self) -> list[Host]:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        self._remove()
        _run("ip", "link", "add", _BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{GATEWAY}/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")
        try:
            for number, name in enumerate(self.names, start=10):
                self.hosts.append(self._start(name, f"10.213.7.{number}"))
            for host in self.hosts:
                self._wait_for(host)
        except BaseException:
            self.__exit__()
            raise
        return self.hosts

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            inside = subprocess.run(["ip", "netns", "pids", host.name], capture_output=True, text=True).stdout.split()
            for process in inside:
                subprocess.run(["kill", "-9", process], capture_output=True)
            host.server.wait()
        self._remove()

    def _start(self, name: str, address: str) -> Host:
        folder = self.base / name
        (folder / "home").mkdir(parents=True)
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", f"{name}-br", "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", f"{name}-br", "master", _BRIDGE, "up")
        links = ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up")
        for command in (*links, f"route add default via {GATEWAY}"):
            _run("ip", "-n", name, *command.split())
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
        passwd = Path("/etc/passwd").read_text().splitlines()
        lines = [
            f"root:x:0:0:root:{folder / 'home'}:/bin/bash" if line.startswith("root:") else line for line in passwd
        ]
        (folder / "passwd").write_text("\n".join(lines) + "\n")
        (folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        (folder / "sshd_config").write_text(
            f"ListenAddress {address}\nHostKey {folder / 'host_key'}\nAuthorizedKeysFile {folder / 'authorized_keys'}\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nMaxSessions 50\n"
        )
        script = _START.format(folder=folder, name=name, sshd=_which("sshd"))
        with (folder / "sshd.log").open("wb") as log:
            server = subprocess.Popen(
                ["ip", "netns", "exec", name, *_OWN, "sh", "-ec", script],
                stdout=log,
                stderr=log,
            )
        return Host(name, address, folder, server)

    def _wait_for(self, host: Host) -> None:
        login = ["ssh", "-i", str(self.key), *_SSH_OPTIONS, f"root@{host.address}", "hostname"]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = subprocess.run(login, capture_output=True, text=True)
            if answer.stdout.strip() == host.name:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{host.name} does not answer: {(host.folder / 'sshd.log').read_text()}")

    def _remove(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
            subprocess.run(["ip", "link", "delete", f"{name}-br"], capture_output=True)
        subprocess.run(["ip", "link", "delete", _BRIDGE], capture_output=True)


_SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


def ssh_options() -> tuple[str, ...]:
    """For hosts whose keys nobody knows."""
    return _SSH_OPTIONS


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
