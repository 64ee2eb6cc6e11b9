"""Keep what a policy sees while it acts, to count operations or compare exports on real observations."""

from __future__ import annotations

from typing import Any

import numpy as np

from synrl_ray.policies.policy import Policy


class ObservationRecorder:
    """Acts as the policy does, and keeps observations with the states before them.

    Args:
        policy: acts.
        most: observations to keep; the first ones.
    """

    def __init__(self, policy: Policy, most: int) -> None:
        self.policy = policy
        self.most = most
        self._observations: list[np.ndarray] = []
        self._states: list[np.ndarray] = []
        self.count = 0

    def initial_state(self, batch: int, /) -> np.ndarray:
        """As the policy."""
        return self.policy.initial_state(batch)

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the policy, on a batch."""
        room = self.most - self.count
        if room > 0:
            self._observations.append(np.array(observations[:room]))
            self._states.append(np.array(state[:room]))
            self.count += len(self._observations[-1])
        return self.policy.act(observations, state, deterministic=deterministic)

    @property
    def observations(self) -> Any:
        """``[n, *obs]``."""
        return np.concatenate(self._observations)

    @property
    def states(self) -> Any:
        """``[n, S]``."""
        return np.concatenate(self._states)
