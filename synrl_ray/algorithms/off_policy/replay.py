"""A replay memory in arrays: uniform or prioritised, with n-step returns, reproducible from its seed.

RLlib's own buffers hand out an episode object for every transition, and building those costs several times what a
small network's update does. They also leave out the last ``n - 1`` steps of every episode, and draw from the system's
entropy.

Legend: M transitions held, B transitions drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from synrl_ray.errors import NonFiniteError

_LEAST_PRIORITY = 1e-6  # so that no transition is lost for ever


@dataclass
class Transitions:
    """Drawn transitions over up to n steps, ``[B, ...]`` each."""

    rows: NDArray[np.int64]
    """Where they lie, for :meth:`Replay.update_priorities`."""
    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[np.float32]
    """Discounted sums over the steps."""
    next_observations: NDArray[Any]
    """After the last of the steps."""
    terminated: NDArray[np.bool_]
    num_steps: NDArray[np.int64]
    """Fewer than n where the episode, or what is known of it, ends before."""
    weights: NDArray[np.float32]
    """Importance weights, at most 1."""


class Replay:
    r"""The newest transitions of all environments; the oldest one makes room.

    With ``alpha`` > 0 a transition is drawn with probability :math:`P(i) = p_i^\alpha / \sum_k p_k^\alpha`, where
    :math:`p_i` is its last absolute TD error (the largest so far where it was never drawn), and weighted by
    :math:`(M P(i))^{-\beta}`, scaled by the largest weight in the memory.

    Args:
        capacity: transitions to hold.
        alpha: how much priorities count; 0 draws uniformly.
        beta: how much the weights correct for it.

    References:
        Mnih et al. (2015), "Human-level control through deep reinforcement learning", doi:10.1038/nature14236;
        Schaul et al. (2016), "Prioritized experience replay", arXiv:1511.05952, eq. 1 and section 3.4.
    """

    def __init__(self, capacity: int, *, alpha: float = 0.0, beta: float = 0.0) -> None:
        self.capacity, self.alpha, self.beta = capacity, alpha, beta
        self._rng = np.random.default_rng(0)
        self._columns: dict[str, NDArray[Any]] = {}
        self._following = np.full(capacity, -1, np.int64)
        """Row of the same episode's next transition, -1 where there is none yet."""
        self._priorities = np.zeros(capacity)
        self._highest = 1.0
        self._written = 0
        self._last: dict[str, tuple[int, int]] = {}
        """Unfinished episodes: row of their newest transition, and how many had been written by then."""

    def __len__(self) -> int:
        return min(self._written, self.capacity)

    def reseed(self, sequence: np.random.SeedSequence) -> None:
        """Draw from these random numbers from now on."""
        self._rng = np.random.default_rng(sequence)

    def add(self, episodes: Sequence[SingleAgentEpisode]) -> None:
        """Write episodes, or the pieces by which they grow.

        Raises:
            NonFiniteError: for a reward or observation that is NaN or infinite.
        """
        for episode in episodes:
            if len(episode):
                self._add(episode)

    def _add(self, episode: SingleAgentEpisode) -> None:
        observations = np.asarray(episode.get_observations())
        rewards = np.asarray(episode.get_rewards(), np.float32)
        for name, values in (("the reward", rewards), ("the observation", observations)):
            if not np.isfinite(values).all():
                raise NonFiniteError(name, "what an environment returned")
        count = len(rewards)
        terminated = np.zeros(count, np.bool_)
        terminated[-1] = episode.is_terminated
        rows = np.arange(self._written, self._written + count) % self.capacity
        columns = {
            "observations": observations[:-1],
            "actions": np.asarray(episode.get_actions()),
            "rewards": rewards,
            "next_observations": observations[1:],
            "terminated": terminated,
        }
        for name, values in columns.items():
            if name not in self._columns:
                self._columns[name] = np.zeros((self.capacity, *values.shape[1:]), values.dtype)
            self._columns[name][rows] = values
        self._following[rows[:-1]] = rows[1:]
        self._following[rows[-1]] = -1
        row, written = self._last.pop(episode.id_, (-1, 0))
        if row >= 0 and self._written + count - written <= self.capacity:  # else it has just been overwritten
            self._following[row] = rows[0]
        self._priorities[rows] = self._highest**self.alpha
        self._written += count
        if not episode.is_done:
            self._last[episode.id_] = int(rows[-1]), self._written - 1

    def sample(self, batch_size: int, *, n_step: int = 1, gamma: float = 1.0) -> Transitions:
        """Draw with replacement.

        Args:
            batch_size: B.
            n_step: steps over which rewards are summed.
            gamma: their discount.
        """
        rows = self._draw(batch_size)
        ends, steps = rows.copy(), np.ones(batch_size, np.int64)
        rewards = self._columns["rewards"][rows].astype(np.float64)
        for step in range(1, n_step):
            following = self._following[ends]
            goes_on = (following >= 0) & (steps == step)
            ends = np.where(goes_on, following, ends)
            rewards += np.where(goes_on, gamma**step * self._columns["rewards"][ends], 0.0)
            steps += goes_on
        return Transitions(
            rows=rows,
            observations=self._columns["observations"][rows],
            actions=self._columns["actions"][rows],
            rewards=rewards.astype(np.float32),
            next_observations=self._columns["next_observations"][ends],
            terminated=self._columns["terminated"][ends],
            num_steps=steps,
            weights=self._weights(rows),
        )

    def update_priorities(self, rows: NDArray[np.int64], errors: NDArray[np.floating]) -> None:
        """Note the TD errors ``[B]`` of the transitions in these rows."""
        if self.alpha:
            errors = np.maximum(np.abs(errors), _LEAST_PRIORITY)
            self._priorities[rows] = errors**self.alpha
            self._highest = max(self._highest, float(errors.max()))

    def _draw(self, batch_size: int) -> NDArray[np.int64]:
        if not self.alpha:
            return self._rng.integers(len(self), size=batch_size)
        sums = self._priorities[: len(self)].cumsum()
        return np.searchsorted(sums, self._rng.random(batch_size) * sums[-1], side="right").clip(max=len(self) - 1)

    def _weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if not self.alpha:
            return np.ones(len(rows), np.float32)
        lowest = self._priorities[: len(self)].min()
        return ((self._priorities[rows] / lowest) ** -self.beta).astype(np.float32)
