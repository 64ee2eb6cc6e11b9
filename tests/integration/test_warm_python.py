"""The Python from which the tests' processes are forked does as Python does."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import quick_stack


def done(python: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and error, with the interpreter's path left out, which errors name."""
    ended = subprocess.run([python, *arguments], capture_output=True, text=True)
    return ended.returncode, ended.stdout, ended.stderr.replace(python, "python")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "synrl_ray", "list"],
        ["-m", "synrl_ray", "train", "no-such-experiment"],
        ["-m", "synrl_ray", "evaluate", "no-such-folder"],
        ["-c", "import sys; sys.exit('executed')"],
    ],
    ids=" ".join,
)
def test_it_writes_and_ends_as_python_does(warm_python: str, arguments: list[str]) -> None:
    assert done(warm_python, *arguments) == done(sys.executable, *arguments)


def test_the_quick_stack_is_that_of_python_without_source() -> None:
    found, expected = quick_stack.frames(), inspect.getouterframes(sys._getframe(), context=0)
    assert [(each.frame, each.function) for each in found] == [(each.frame, each.function) for each in expected]
    assert [each.lineno for each in found[1:]] == [each.lineno for each in expected[1:]]
