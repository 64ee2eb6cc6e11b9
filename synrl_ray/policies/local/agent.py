"""What an agent is that learns where it acts, by local rules and without gradients.

Legend: N environments, S states that are judged at once, T environment steps of a fragment.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from synrl_ray.policies.layers import rows_at_once

if TYPE_CHECKING:
    from synrl_ray.envs.tabular import TransitionTable


class Clock(NamedTuple):
    """Where in the run a fragment lies."""

    num_steps: int
    """Steps of every environment in the fragment, T."""
    first: int
    """Environment steps of the run before it."""
    stride: int
    """How many each step of the N environments stands for: N times the number of env runners."""


class LocalAgent(nn.Module):
    """A network, or a table, that changes its own weights after each environment step.

    Weights are buffers: no optimiser knows them. Whatever else it remembers of the N environments (traces, membranes,
    the previous step) is no part of its state dictionary and starts at zero in every env runner.

    A rule's agent makes itself known to :data:`synrl_ray.policies.local.table.AGENTS`.

    Attributes:
        plastic_names: buffers that learning changes; runners' changes of them are merged.
        needs_table: whether the agent learns only where the environment has a transition table.
    """

    plastic_names: tuple[str, ...] = ()
    needs_table: ClassVar[bool] = False

    @classmethod
    def create(
        cls,
        observation_space: gym.Space,
        action_space: gym.Space,
        settings: Any,
        *,
        seed: int = 0,
        teacher_actions: np.ndarray | None = None,
    ) -> LocalAgent:
        """A new agent; by default from its spaces and settings alone.

        Args:
            observation_space, action_space: of a single environment.
            settings: of the rule.
            seed: of random initial weights.
            teacher_actions: the right actions, where :meth:`is_taught`.

        Raises:
            UserError: for spaces that the agent cannot serve.
        """
        return cls(observation_space, action_space, settings)

    @classmethod
    def is_taught(cls, settings: Any) -> bool:
        """Whether the settings ask for a teacher, who is there in training only; by default there is none."""
        return False

    @classmethod
    def untaught(cls, settings: Any) -> Any:
        """The settings without a teacher, for an agent that has learned."""
        return settings

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


class FragmentLearner(LocalAgent):
    """An agent that steps a table's environments itself and learns a whole fragment in one call."""

    @abstractmethod
    def learn_fragment(
        self,
        table: TransitionTable,
        clock: Clock,
        states: np.ndarray,
        elapsed: np.ndarray,
        returns: np.ndarray,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Act, step and learn T times in N environments; an episode's end is followed at once by a new episode.

        Args:
            table: of the environments.
            clock: when in the run that is.
            states, elapsed, returns: ``[N]``, of the present episodes; changed.
            random: source of randomness.

        Returns:
            Lengths and returns of the episodes that have ended, in order.
        """
