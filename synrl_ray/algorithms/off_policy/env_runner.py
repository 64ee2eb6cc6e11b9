"""The env runner of algorithms that learn from a replay."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from synrl_ray.sampling.seeding import draw_seeds


class ReplayEnvRunner(SingleAgentEnvRunner):
    """RLlib's env runner, with random numbers of its own, and exceptions that reach the driver."""

    def apply(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``func(self, ...)``; RLlib's own would end the process and hide the cause."""
        return func(self, *args, **kwargs)

    def _try_env_step(self, actions: Any) -> Any:
        """Step the environments; RLlib's wrapper around what they raise would lose its cause between processes."""
        try:
            return super()._try_env_step(actions)
        except RuntimeError as error:
            raise error.__cause__ or error from None

    def reseed(self, steps: int) -> None:
        """Start new episodes, seeded for this point of the run; ``steps`` are those that it has taken so far."""
        environment, noise = draw_seeds(self, steps, 2)
        self._seed = 2**31 + environment % 2**30
        self._needs_initial_reset = True
        self.num_env_steps_sampled_lifetime = steps
        torch.manual_seed(noise)
