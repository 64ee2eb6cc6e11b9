"""What an agent is that learns where it acts, by local rules and without gradients.

Legend: N environments, S states that are judged at once.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.policies.layers import rows_at_once


class LocalAgent(nn.Module):
    """A network, or a table, that changes its own weights after each environment step.

    Weights are buffers: no optimiser knows them. Whatever else it remembers of the N environments (traces, membranes,
    the previous step) is no part of its state dictionary and starts at zero in every env runner.

    Attributes:
        plastic_names: buffers that learning changes; runners' changes of them are merged.
    """

    plastic_names: tuple[str, ...] = ()

    @abstractmethod
    def act(self, observations: np.ndarray, starts: np.ndarray, steps: int, generator: torch.Generator) -> np.ndarray:
        """Choose actions ``[N]`` and explore.

        Args:
            observations: ``[N, ...]``.
            starts: ``[N]`` bool, where an episode starts: traces and membranes are zeroed there.
            steps: environment steps of the run so far, for schedules.
            generator: source of randomness.
        """

    @abstractmethod
    def learn(
        self,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        valid: np.ndarray,
        observations: np.ndarray,
    ) -> None:
        """Change the plastic weights after a step, knowing what :meth:`act` has seen and chosen.

        Args:
            rewards: ``[N]``; one that is not finite changes nothing and is counted in :meth:`diagnostics`.
            terminated, truncated: ``[N]`` bool, whether the episode has ended, and how.
            valid: ``[N]`` bool, false where the step was no transition: the reset after an episode's end.
            observations: ``[N, ...]``, what followed.
        """

    @abstractmethod
    def greedy(self, observations: np.ndarray) -> np.ndarray:
        """Best actions ``[S]`` for observations ``[S, ...]``, each on its own, without noise and without learning."""

    @property
    def numbers_per_observation(self) -> int:
        """How many numbers a greedy decision computes for one observation; those of a row of a table by default."""
        return 1

    def in_parts(self, observations: np.ndarray) -> list[np.ndarray]:
        """Observations ``[S, ...]``, as many at a time as decisions about them may be computed together."""
        size = rows_at_once(self.numbers_per_observation, max(1, len(observations)))
        return [observations[first : first + size] for first in range(0, len(observations), size)]

    def bounded(self, name: str, weight: Tensor) -> Tensor:
        """A plastic weight, brought into its bounds; there are none by default."""
        return weight

    def spike_counts(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """How often each neuron fires in the greedy decisions for ``observations [S, ...]``, by population; nothing
        by default, for agents without neurons."""
        return {}

    def diagnostics(self) -> dict[str, float]:
        """What happened since the last call, for the metrics."""
        return {}
