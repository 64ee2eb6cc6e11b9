"""Commands that use the Ray of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from command import Command


@pytest.fixture
def synrl(warm_python: str, local_ray: str) -> Iterator[Callable[..., Command]]:
    """Start a command, in a process that joins the local Ray; what a test leaves behind is ended.

    The processes of a Ray of its own cost more than all else that a short command does: what starting one involves is
    tested where it is what the test is about.
    """
    running: list[Command] = []

    def start(*arguments: str, **variables: str | None) -> Command:
        command = Command(*arguments, python=warm_python, **{"RAY_ADDRESS": local_ray, **variables})
        running.append(command)
        return command

    yield start
    for command in running:
        command.process.kill()
        command.process.communicate()
