"""The servers of ``warm_python.py``: they import at the first request, then fork a process for each.

The first process serves workers of other drivers than a session's first, and has imported all but Ray; the second one
is its child, and has imported Ray as well.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import quick_stack  # noqa: F401
from warm_python import FIRST_JOB, SIZE

sys.path[0] = str(Path(__file__).parents[1])  # of this repository, not of this folder
_PATH = list(sys.path)
_WITHOUT_RAY = (
    *("pandas", "pyarrow", "torch", "gymnasium", "numba", "matplotlib.pyplot", "pydantic"),
    "torch._inductor",  # torch imports it when it is seeded, as RLlib does in each env runner
)
_WITH_RAY = ("ray.rllib.algorithms.dqn", "ray.tune", "ale_py", "tensorboardX")


class Server:
    """Forks a process for each request, until standard input ends."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._ended, self._wake = socket.socketpair()
        self._ended.setblocking(False)
        self._wake.setblocking(False)
        self._callers: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self) -> dict[str, Any] | None:
        """Return, in a process that was forked, what it is to become, and ``None`` at the end."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then ends the servers
        for source in (0, self._listener, self._ended):
            self._selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == 0:
                    for pid in self._callers:
                        os.kill(pid, signal.SIGKILL)
                    return None
                if key.fileobj is self._ended:
                    self._tell_of_ended()
                elif key.fileobj is self._listener:
                    if (request := self._fork()) is not None:
                        return request
                elif key.data in self._callers:  # and has been killed: it does not say anything else
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _fork(self) -> dict[str, Any] | None:
        caller, _ = self._listener.accept()
        try:
            size, streams, _, _ = socket.recv_fds(caller, SIZE, 3)
            request = json.loads(caller.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        except (OSError, ValueError):  # it was killed meanwhile
            caller.close()
            return None
        if (pid := os.fork()) == 0:
            self._selector.close()
            for opened in (self._listener, self._ended, self._wake, caller, *self._callers.values()):
                opened.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return dict(request)
        for stream in streams:
            os.close(stream)
        self._callers[pid] = caller
        self._selector.register(caller, selectors.EVENT_READ, pid)
        _tell(caller, pid)
        return None

    def _tell_of_ended(self) -> None:
        self._ended.recv(4096)
        while self._callers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if (caller := self._callers.pop(pid, None)) is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(caller)
                _tell(caller, os.waitstatus_to_exitcode(status))
                caller.close()


def _tell(caller: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        caller.sendall(number.to_bytes(SIZE, "big", signed=True))


def load(*names: str) -> None:
    """Import modules; whoever needs one that cannot be imported will say so."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def modules_of_the_project() -> list[str]:
    """Return the names of all modules but those that run when they are imported."""
    package = importlib.import_module("synrl_ray")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "synrl_ray.")]
    return [name for name in names if not name.endswith("__main__")]


def use_a_kernel() -> None:
    """Have numba make ready what it makes ready at its first use: seconds, too."""
    import torch

    from synrl_ray.snn import SpikingMLP

    with contextlib.suppress(Exception), torch.no_grad():  # no gradients: torch's engine does not fork everywhere
        network = SpikingMLP(4, (2,), 2)
        network(torch.zeros(1, 1, 4), torch.zeros(1, network.state_size))


def become(request: dict[str, Any]) -> None:
    """Run what was asked for, as Python does with a program of its own."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setpgid(0, 0)  # who ends its process group is not to end the server's
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        stream = open(number, mode, buffering=1 if name == "stderr" else -1, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    if "ray" in sys.modules:
        importlib.import_module("synrl_ray.cluster.private_ray")._tell_ray()  # it reads variables when it is imported
    importlib.import_module("numpy").random.seed()
    sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *_PATH]
    sys.executable = request["executable"]  # a Ray that it starts has warm workers too
    sys.argv = [request.get("path", "synrl_ray"), *request["arguments"]]
    if "module" in request:
        sys.path.insert(0, request["folder"])
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(request["path"], run_name="__main__")


def end_after(request: dict[str, Any]) -> None:
    """Become it, and leave: taking all modules apart, as Python does at its end, takes longer than forking."""
    status = 0
    try:
        become(request)
    except SystemExit as leaving:
        if not isinstance(leaving.code, int | None):
            raise
        status = leaving.code or 0
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


def main() -> None:
    """Wait for the first request to either of the listeners, then start both servers."""
    warm, without_ray = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    if 0 in select.select([0, warm, without_ray], [], [])[0]:
        return
    load(*_WITHOUT_RAY)
    gc.freeze()  # what is there is shared with those that are forked: the collector leaves it alone
    parent = os.getppid()
    if os.fork():
        warm.close()
        forked = Server(without_ray).serve()
    else:
        without_ray.close()
        # What Ray reads once, when it is imported; its workers end with the process of that number.
        os.environ |= {"RAY_JOB_ID": FIRST_JOB, "RAY_RAYLET_PID": str(parent)}
        load(*_WITH_RAY, *modules_of_the_project())
        use_a_kernel()
        gc.freeze()
        forked = Server(warm).serve()
    if forked is not None:
        end_after(forked)
    os._exit(0)


if __name__ == "__main__":
    main()
