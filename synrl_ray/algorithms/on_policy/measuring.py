"""What the normalisers of a network are shown, after it was learned from as it was met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from torch import Tensor

from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.sampling.rollout import Rollout, sample_rows

_MOST_ROWS, _MOST_NUMBERS = 1024, 2**22
"""Observations by which currents are measured and weights scaled, and the numbers that are computed for them."""


class Met(NamedTuple):
    """What was collected, as far as a network measures it."""

    observations: Tensor | None
    """``[n, *obs]``, all of them."""
    rows: tuple[Tensor, ...] | None
    """Some of them, and the states ``[n, S]`` before."""


def met(network: ActorCritic, rollouts: Sequence[Rollout], *, currents: bool = True) -> Met | None:
    """What that network measures, currents too or observations only; ``None`` if it measures nothing."""
    observations, rows = None, None
    if network.config.normalise_observations:
        observations = torch.from_numpy(np.concatenate([rollout.observations[rollout.valid] for rollout in rollouts]))
    if currents and network.measures_currents:
        rows = tuple(torch.from_numpy(array) for array in sample_rows(rollouts, most_rows(network)))
    return None if observations is rows is None else Met(observations, rows)


def measure(network: ActorCritic, seen: Met) -> None:
    """Let the network's normalisers see it, where the network is."""
    device = next(network.parameters()).device
    if seen.observations is not None:
        network.measure(seen.observations.to(device))
    if seen.rows is not None:
        network.measure_currents(*(rows.to(device) for rows in seen.rows))


def most_rows(network: ActorCritic) -> int:
    """Observations that are computed for at once, if only to measure something."""
    return max(1, min(_MOST_ROWS, _MOST_NUMBERS // network.numbers_per_observation))


def network_of(learner: Any) -> ActorCritic:
    """The network that a learner trains."""
    network: ActorCritic = learner.module[DEFAULT_MODULE_ID].unwrapped().network
    return network
