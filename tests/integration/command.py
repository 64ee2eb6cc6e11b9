"""Commands of ``synrl`` in processes of their own, and waiting for what they bring about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")
_HERE = Path(__file__).parent


class Command:
    """A command that has been started; it imports the environments that lie in this folder.

    Nothing here waits for a time: on a busy machine all takes as long as it takes, and pytest ends a test that hangs.

    Args:
        arguments: of ``synrl``.
        python: the interpreter.
        variables: of the environment; ``None`` removes one.
    """

    def __init__(self, *arguments: str, python: str = sys.executable, **variables: str | None) -> None:
        path = os.pathsep.join(filter(None, [str(_HERE), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, **variables}
        self.process = subprocess.Popen(
            [python, "-m", "synrl_ray", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in environment.items() if value is not None},
        )

    def wait_until(self, happened: Callable[[], Found]) -> Found:
        """Return what the function finds, once that is something; the command must be running until then."""
        while not (found := happened()):
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.05)
        return found

    def end(self, number: signal.Signals | None = None, *, status: int = 0) -> tuple[str, str]:
        """Wait for the end, after a signal if one is named; return what was written to standard output and error."""
        if number is not None:
            self.process.send_signal(number)
        output, errors = self.process.communicate()
        assert self.process.returncode == status, errors
        return output, errors


def with_set(*settings: str) -> list[str]:
    """Return the options that give an experiment these settings."""
    return [item for setting in settings for item in ("--set", setting)]
