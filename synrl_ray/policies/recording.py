"""Keep what a policy sees while it acts, to count operations or compare exports on real observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from synrl_ray.policies.given import observations_from
from synrl_ray.policies.own_network import OwnNetwork
from synrl_ray.policies.policy import Policy
from synrl_ray.snn import SpikingCNN, SpikingMLP


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


class SpikeWatcher:
    """Acts as a spiking policy does, and shows the actor's spikes of the last observation, for videos."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.last_spikes: list[np.ndarray] | None = None
        """Spikes ``[K, N]`` of every spiking layer, for the first row of the batch."""

    def initial_state(self, batch: int, /) -> np.ndarray:
        """As the policy."""
        return self.policy.initial_state(batch)

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the policy, on a batch."""
        network = self.policy.network
        actor = network.bodies[0]
        if isinstance(actor, (SpikingMLP, SpikingCNN, OwnNetwork)):
            with torch.no_grad():
                seen, _ = observations_from(observations[:1], self.policy.observation_space)
                inputs, before = network.actor_inputs(torch.from_numpy(seen), torch.as_tensor(state[:1]))
                self.last_spikes = [layer[:, 0].numpy() for layer in actor.forward_with_spikes(inputs, before)[2]]
        return self.policy.act(observations, state, deterministic=deterministic)
