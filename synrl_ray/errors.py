"""Errors that a user can act on. The command line prints them as one line and exits with status 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_REASON = 300  # characters: beyond it, the rest is a traceback or a dump rather than a sentence


class UserError(Exception):
    """Something about the input is wrong, said on one line that any terminal bears, whatever is quoted.

    Args:
        message: names the thing that is wrong.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message, self.remedy = (_shown(" ".join(text.splitlines())) for text in (message, remedy))
        super().__init__(self.message, self.remedy)

    def __str__(self) -> str:
        return f"{self.message} — {self.remedy}" if self.remedy else self.message


class NonFiniteError(UserError):
    """A tensor holds NaN or infinity: training stops, the last good checkpoint stays."""

    def __init__(
        self, tensor: str, where: str, remedy: str = "try a smaller learning rate, or check the environment"
    ) -> None:
        self.tensor, self.where = tensor, where
        super().__init__(f"{tensor} is not finite ({where})", remedy)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.tensor, self.where, self.remedy)


@contextmanager
def told_of(place: str | Path, kept: Path) -> Iterator[None]:
    """Errors of the block name what the user has named, not the folder that its files were put into for the block."""
    try:
        yield
    except UserError as error:
        name = re.compile(re.escape(str(kept)) + r"(?![\w-])")
        told = (name.sub(lambda _: str(place), text) for text in (error.message, error.remedy))
        raise UserError(*told) from error


def _shown(text: str) -> str:
    """A stranger's file can hold sequences that move a terminal's cursor, or turn the direction of writing."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def reason_of(error: BaseException, *, named: bool = False) -> str:
    """What an error says, on one line: all of it where that is short, else its first line; at least its type's name.

    Args:
        error: whose.
        named: with the type's name before it, as Python prints errors.
    """
    name = type(error).__name__
    said = str(error)
    if isinstance(error, KeyError) and error.args and not named:
        said = f"no {error}"
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    elif error.args == (None,):
        said = ""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    if not lines:
        return name
    whole = " ".join(lines)
    if len(whole) > _LONGEST_REASON:
        whole = lines[0] if len(lines[0]) <= _LONGEST_REASON else f"{lines[0][:_LONGEST_REASON]} …"
    return _shown(f"{name}: {whole}" if named else whole)


def worker_died() -> UserError:
    """A process of the run is gone, and nothing that it raised is known."""
    return UserError("a worker process died", "look at the memory of its node, then continue with --resume")


_DEATHS = frozenset(
    f"{of}Error"
    for of in ("RayActor", "ActorDied", "ActorUnavailable", "WorkerCrashed", "NodeDied", "OwnerDied", "OutOfMemory")
)


def is_death(error: BaseException | None) -> bool:
    """Whether Ray says by it that a process is gone."""
    return type(error).__name__ in _DEATHS


def user_error_in(error: BaseException | None) -> UserError | None:
    """The error meant for the user, which Ray wraps when it comes from another process; also a process that died."""
    if is_death(error):
        return worker_died()
    for _ in range(10):
        if error is None:
            return None
        wrapped = getattr(error, "cause", None)  # Ray's wrapper is itself an instance of what it wraps
        if isinstance(error, UserError) and wrapped is None:
            return error
        error = wrapped or error.__cause__ or error.__context__
    return None
