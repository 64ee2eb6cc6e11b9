"""Whether a NIR graph does what the policy does that it was made of: from raw observations, over whole episodes.

Legend: E environment step, B episode, K simulation steps for each observation, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synrl_ray.policies.given import observations_from
from synrl_ray.policies.graphs import GraphPolicy, read_out
from synrl_ray.policies.policy import Policy
from synrl_ray.snn.nir.running import Reader, run

_EQUAL = 1e-5
"""Of continuous actions: what single precision leaves of the readout's decay over an observation."""
_NUMBERS_AT_ONCE = 2**24
"""Of spikes and frames that are held while they are compared."""


class EpisodeRecorder:
    """Acts as the policy does, and keeps each episode's raw observations and actions.

    An episode is known by a number that is carried beside the state, since rows leave the batch where episodes end.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.observations: list[list[np.ndarray]] = []
        self.actions: list[list[np.ndarray]] = []
        self.count = 0

    def initial_state(self, batch: int, /) -> np.ndarray:
        """As the policy, and a number in the last column."""
        numbers = len(self.observations) + np.arange(batch)
        for column in (self.observations, self.actions):
            column.extend([] for _ in range(batch))
        return np.column_stack((self.policy.initial_state(batch).astype(np.float64), numbers))

    def act(
        self, observations: np.ndarray, state: np.ndarray, /, *, deterministic: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the policy."""
        numbers = state[:, -1]
        actions, after = self.policy.act(observations, state[:, :-1], deterministic=deterministic)
        for row, episode in enumerate(numbers.astype(int)):
            self.observations[episode].append(np.array(observations[row]))
            self.actions[episode].append(np.array(actions[row]))
        self.count += len(observations)
        return actions, np.column_stack((after.astype(np.float64), numbers))


@dataclass
class Agreement:
    """What is equal between a graph and its policy, as shares of all that was compared."""

    spikes: float
    """Of the network's neurons and simulation steps, spike or silence."""
    actions: float
    """Of its actions."""
    played: float
    """Of the actions that the policy took when it played the episodes, in single precision."""


@torch.no_grad()
def compare(
    policy: Policy, acting: GraphPolicy, readers: Sequence[Reader[Any]], recorded: EpisodeRecorder
) -> list[Agreement]:
    """Run a graph and the network that it was made of over recorded episodes.

    The network runs in double precision here, so that no spike hangs on how a sum is rounded, and all must agree.

    Args:
        policy: that has played.
        acting: says how observations are prepared and outputs become actions.
        readers: run its graph.
        recorded: whole episodes.

    Returns:
        What agrees, for each reader.
    """
    network = deepcopy(policy.network).double()
    equal = np.zeros((len(readers), 3))
    total = np.zeros(3)
    lengths = torch.tensor([len(actions) for actions in recorded.actions])
    longest, batch = int(lengths.max()), len(lengths)
    at_once = max(1, _NUMBERS_AT_ONCE // (network.numbers_per_observation * batch))
    memory, states = acting.preparation.initial(batch), [reader.initial(batch) for reader in readers]
    before = torch.zeros(batch, network.state_size, dtype=torch.float64)
    for first in range(0, longest, at_once):
        steps = range(first, min(first + at_once, longest))
        valid = torch.tensor(steps).unsqueeze(-1) < lengths
        raw, played = (
            np.stack([_of_step(column, step) for step in steps]) for column in (recorded.observations, recorded.actions)
        )
        with _in_double():
            expected, outputs, before = network.actor_spikes(_seen(policy, raw), before)
        prepared = []
        for each in raw:
            inputs, memory = acting.preparation(each, memory)
            prepared.append(torch.from_numpy(inputs))
        own, num_rows = acting.actions(outputs[valid]), int(valid.sum())
        total += num_rows * np.array([sum(layer.shape[1] * layer.shape[3] for layer in expected), 1, 1])
        for i, reader in enumerate(readers):
            spikes, emitted, states[i] = _run(reader, prepared, states[i], acting)
            found = acting.actions(emitted[valid])
            for a, b in zip(expected, spikes, strict=True):
                equal[i, 0] += int(((a > 0) == b).transpose(1, 2)[valid].sum())
            equal[i, 1:] += _num_equal(own, found), _num_equal(played[valid.numpy()], found)
    return [Agreement(*map(float, shares)) for shares in equal / total]


@torch.no_grad()
def num_clipped(policy: Policy, recorded: EpisodeRecorder) -> int:
    """How many of the recorded observations the policy's normaliser clips."""
    network, count = policy.network, 0
    if network.normaliser is None:
        return 0
    for episode in recorded.observations:
        features = network.encoder(_seen(policy, np.stack(episode)))
        count += int(network.normaliser.clips(features).reshape(len(episode), -1).any(dim=1).sum())
    return count


def _seen(policy: Policy, raw: np.ndarray) -> Tensor:
    """Observations ``[..., *obs]`` as the network takes them."""
    rank = len(policy.observation_space.shape or ())
    seen, _ = observations_from(raw.reshape(-1, *raw.shape[raw.ndim - rank :]), policy.observation_space)
    return torch.from_numpy(seen).view(raw.shape)


def _of_step(episodes: Sequence[list[np.ndarray]], step: int) -> np.ndarray:
    """Of every episode ``[B, ...]``; of those that have ended before, its last again."""
    return np.stack([episode[min(step, len(episode) - 1)] for episode in episodes])


def _run(
    reader: Reader[Any], prepared: list[Tensor], state: Any, acting: GraphPolicy
) -> tuple[list[Tensor], Tensor, Any]:
    """Spikes ``[E, K, B, N]`` of each layer, outputs ``[E, B, O]`` and the state after them."""
    num_steps, k = len(prepared), acting.steps
    if acting.from_rest:  # all at once, since none knows of another
        spikes, outputs, _ = run(reader, torch.cat(prepared, dim=1), hold=acting.hold)
        parts = [each.unflatten(1, (num_steps, -1)).transpose(0, 1) for each in (*spikes, outputs)]
    else:
        spikes, outputs, state = run(reader, torch.cat(prepared), state, hold=acting.hold)
        parts = [each.unflatten(0, (num_steps, k)) for each in (*spikes, outputs)]
    return parts[:-1], read_out(parts[-1].flatten(0, 1), acting.readout, k), state


def _num_equal(expected: np.ndarray, found: np.ndarray) -> int:
    """How many rows are equal; numbers to single precision."""
    same = expected == found if expected.dtype.kind in "iu" else np.isclose(expected, found, rtol=0, atol=_EQUAL)
    return int(same.reshape(len(same), -1).all(axis=1).sum())


@contextmanager
def _in_double() -> Iterator[None]:
    """Features of observations are of torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
