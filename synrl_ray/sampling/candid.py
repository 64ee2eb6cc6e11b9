"""RLlib's env runner, except that an error reaches the driver with its cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner


class CandidEnvRunner(SingleAgentEnvRunner):
    """RLlib ends the worker process on any error, and the driver learns only that the actor died.

    A run that is to stop with the name of the tensor that is NaN, or with the environment's own error, needs
    the exception itself.
    """

    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``func(self, ...)`` and let its exceptions through."""
        return func(self, *args, **kwargs)
