"""An env runner whose module learns while it acts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from synrl_ray.sampling.batched import BatchedEnvRunner
from synrl_ray.sampling.metrics import log_plasticity


@dataclass
class LearnedFragment:
    """What a fragment has changed."""

    num_steps: int
    """Environment steps, without resets."""
    delta: dict[str, Tensor]
    """Change of each plastic weight since the weights arrived."""


class PlasticEnvRunner(BatchedEnvRunner):
    """Steps a vector environment with a :class:`~synrl_ray.rl_modules.local.LocalModule`, which changes its
    weights after every step, and hands over what has changed.

    Raises:
        UserError: as :class:`BatchedEnvRunner`.
    """

    def sample(self, **kwargs: Any) -> LearnedFragment:  # type: ignore[override]
        """Act and learn for T steps of every environment."""
        num_steps = 0
        for _ in range(self.config.get_rollout_fragment_length(self.worker_index)):
            num_steps += self._act_and_learn(num_steps)
        return self._finish_fragment(num_steps)

    def _finish_fragment(self, num_steps: int) -> LearnedFragment:
        """Report, and hand over what has changed."""
        self._count_steps(num_steps)
        log_plasticity(self.metrics, self.module.plastic_metrics())
        return LearnedFragment(num_steps, self.module.take_delta())

    def _act_and_learn(self, num_steps: int) -> int:
        began = time.perf_counter()
        actions = self.module.act(self._observations, self._starts, self._steps_of_run(num_steps), self._generator)
        decided = time.perf_counter()
        outcome = self._step(actions, None, num_steps)
        stepped = time.perf_counter()
        self.module.learn(outcome.rewards, outcome.terminated, outcome.truncated, outcome.valid, self._observations)
        self._seconds["environment"] += stepped - decided
        self._seconds["policy"] += time.perf_counter() - stepped + decided - began
        return int(outcome.valid.sum())

    def _state_size(self) -> int:
        return 0  # the module keeps its own
