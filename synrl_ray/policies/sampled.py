"""A policy that draws its actions, from random numbers of its own."""

from __future__ import annotations

import numpy as np
import torch

from synrl_ray.policies.policy import Policy


class ZeroedPolicy:
    """Acts as the policy does that remembers nothing: its state is that of an episode's start before every decision.

    The control for what a policy's membranes, its stack of frames and the like are worth to it.

    Args:
        policy: acts.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def initial_state(self, batch: int, /) -> np.ndarray:
        """As the policy."""
        return self.policy.initial_state(batch)

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the policy at the start of an episode, on a batch."""
        return self.policy.act(observations, self.initial_state(len(state)), deterministic=deterministic)


class SampledPolicy:
    """Acts as the policy does when ``deterministic`` is false, from a seeded generator.

    Two of the same policy and seed act alike as long as they are asked for the same batches.

    Args:
        policy: acts.
        seed: of the random numbers.
    """

    def __init__(self, policy: Policy, seed: int) -> None:
        self.policy = policy
        self._generator = torch.Generator().manual_seed(seed)

    def initial_state(self, batch: int, /) -> np.ndarray:
        """As the policy."""
        return self.policy.initial_state(batch)

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the policy, on a batch."""
        return self.policy.act(observations, state, deterministic=deterministic, generator=self._generator)
