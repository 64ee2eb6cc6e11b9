"""A Python that has imported all that the tests' processes need: they are forked from it, instead of importing again.

The tests start more than a hundred processes: commands, and workers of Ray. Importing torch, RLlib and this project
takes each of them seconds of a core, which was half of the time that all tests took. Here a server imports them once,
at the first request, and forks. Its executable takes Python's command line: what is a worker of Ray or ``-m synrl_ray``
is forked from the server, with the arguments, variables, folder and streams of the caller; anything else is executed by
Python as ever, and so is everything where there is no server. The executable stays until the forked process ends, and
ends as it did; whoever kills it kills the forked process.

When a server forks it has one thread, but for one of pyarrow's allocator, which is made for forking.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SIZE = 8  # bytes of a number on the socket
FIRST_JOB = "01000000"
"""Ray's name of the first driver of a session: which one a worker is for, Ray reads when it is imported."""
_WORKER = "/default_worker.py"
STANDS_FOR = "for "
"""What the name of a process begins with that stands for a forked one, whose number follows."""


class WarmPython:
    """Two servers, one of which has imported Ray too; they end with the process that made them.

    Attributes:
        executable: takes the command line of Python.
    """

    def __init__(self) -> None:
        self.executable, self._server = sys.executable, None
        if sys.platform != "linux":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="warm-"))  # mode 0700
        with contextlib.ExitStack() as stack:
            listeners = []
            for name in ("warm", "without-ray"):
                listeners.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
                listeners[-1].bind(str(self._folder / name))
                listeners[-1].listen(64)
            numbers = [listener.fileno() for listener in listeners]
            command = [sys.executable, str(Path(__file__).with_name("warm_server.py")), *map(str, numbers)]
            self._server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=numbers)
        ask = shlex.join([sys.executable, "-IS", __file__, str(self._folder)])
        self.executable = str(self._folder / "python")
        Path(self.executable).write_text(f'#!/bin/sh\nexec {ask} "$@"\n')
        Path(self.executable).chmod(0o700)

    def close(self) -> None:
        """End the servers, and what still runs of that which they forked."""
        if self._server is not None:
            self._server.communicate()
            shutil.rmtree(self._folder, ignore_errors=True)


def requested(arguments: list[str]) -> dict[str, Any] | None:
    """Return what a server is to fork for a command line of Python, if it is one of those."""
    if arguments[:2] == ["-m", "synrl_ray"]:
        return {"server": "warm", "module": "synrl_ray", "arguments": arguments[2:], "variables": {}}
    worker = next((place for place, argument in enumerate(arguments) if argument.endswith(_WORKER)), None)
    if worker is None:
        return None
    options = [argument.partition("=") for argument in arguments[worker + 1 :]]
    # Two of these options are for the program that would execute the worker, and one of them has variables for it.
    context = next((value for name, _, value in options if name == "--serialized-runtime-env-context"), "{}")
    return {
        "server": "warm" if os.environ.get("RAY_JOB_ID") == FIRST_JOB else "without-ray",
        "path": arguments[worker],
        "arguments": [
            "".join(each) for each in options if each[0] not in ("--serialized-runtime-env-context", "--language")
        ],
        "variables": json.loads(context).get("env_vars", {}),
    }


def ask(folder: str, arguments: list[str]) -> None:
    """Have a server fork a process with this one's streams, and end as it does; else become Python."""
    request, connection = requested(arguments), socket.socket(socket.AF_UNIX)
    try:
        if request is None:
            raise FileNotFoundError
        connection.connect(f"{folder}/{request['server']}")
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])
    here = {"folder": os.getcwd(), "environment": os.environ | request["variables"], "executable": f"{folder}/python"}
    text = json.dumps(request | here).encode()
    socket.send_fds(connection, [len(text).to_bytes(SIZE, "big")], [0, 1, 2])
    connection.sendall(text)
    pid = _number(connection)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write(f"{STANDS_FOR}{pid}")  # for whoever looks at this process
    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, lambda number, frame: _pass_on(pid, number))
    status = _number(connection)
    if status < 0:
        with contextlib.suppress(OSError):  # of SIGKILL
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _number(connection: socket.socket) -> int:
    answer = connection.recv(SIZE, socket.MSG_WAITALL)
    return int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL  # the server was ended


def _pass_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2:])
