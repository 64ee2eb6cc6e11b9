"""Errors that a user can act on. The command line prints them as one line and exits with status 2."""

from __future__ import annotations


class UserError(Exception):
    """Something about the input is wrong.

    Args:
        message: names the thing that is wrong.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

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


def worker_died() -> UserError:
    """A process of the run is gone, and nothing that it raised is known."""
    return UserError("a worker process died", "look at the memory of its node, then continue with --resume")
