"""What a batched env runner collects, and advantages over it.

Legend: T environment steps of the fragment, N environments, D distribution inputs, S state, L sequence length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass
class Rollout:
    """One fragment of N environments, time-major.

    Gymnasium's vector environments reset on the step *after* an episode's end: that step ignores the action and is no
    transition. It stays in the arrays as a row that is not ``valid``; its observation is the final one of the
    episode, so that ``values[t + 1]`` is always the value of what followed step ``t``.
    """

    observations: NDArray[np.generic]
    """``[T, N, *obs]`` in the environment's own dtype."""
    actions: NDArray[np.generic]
    """``[T, N, *act]``, as the policy chose them."""
    inputs: Floats
    """Distribution inputs ``[T, N, D]``."""
    logp: Floats
    """Log-probabilities of the actions ``[T, N]``."""
    values: Floats
    """``[T + 1, N]``, the last row for what follows the fragment."""
    rewards: Floats
    terminated: Bools
    truncated: Bools
    valid: Bools
    """``[T, N]``; false where the step was an environment's reset, or failed."""
    starts: Bools
    """``[T, N]``; true where an episode starts: the state is zeroed before that observation."""
    states: Floats
    """``[T / L, N, S]``: the states before every L-th step; S is 0 where none is carried."""

    @property
    def num_steps(self) -> int:
        """Environment steps, without resets."""
        return int(self.valid.sum())


def sample_rows(rollouts: Sequence[Rollout], most: int) -> tuple[NDArray[np.generic], Floats]:
    """Observations from all over what was collected, with the states before them, zero where an episode starts.

    Args:
        rollouts: of all env runners. Where a state is carried, the steps at which it is kept are drawn from.
        most: rows in total, at least one of each rollout.

    Returns:
        Observations ``[n, *obs]`` and states ``[n, S]``.
    """
    observations, states = [], []
    for rollout in rollouts:
        num_steps, num_envs = rollout.valid.shape
        is_carried = rollout.states.shape[-1] > 0
        period = num_steps // len(rollout.states) if is_carried else 1
        rows = np.flatnonzero(rollout.valid[::period])
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), max(1, most // len(rollouts)))).astype(np.int64)]
        steps, envs = rows // num_envs * period, rows % num_envs
        observations.append(rollout.observations[steps, envs])
        before = rollout.states[steps // period, envs] if is_carried else np.zeros((len(rows), 0), np.float32)
        states.append(np.where(rollout.starts[steps, envs, None], np.float32(0), before))
    return np.concatenate(observations), np.concatenate(states)


def empty_rollout(
    shape: tuple[int, int],
    observation_space: gym.Space,
    action_space: gym.Space,
    num_inputs: int,
    state_size: int,
    sequence_length: int,
) -> Rollout:
    """A fragment of ``shape`` ``(T, N)`` with D distribution inputs; nothing in it is valid yet.

    Raises:
        ValueError: if it does not divide into sequences of that length.
    """
    num_steps, num_envs = shape
    if num_steps % sequence_length:
        raise ValueError(f"a fragment of {num_steps} steps does not divide into sequences of {sequence_length}")
    seen, acted = observation_space.shape or (), action_space.shape or ()
    return Rollout(
        observations=np.zeros((*shape, *seen), observation_space.dtype),
        actions=np.zeros((*shape, *acted), np.float32 if isinstance(action_space, gym.spaces.Box) else np.int64),
        inputs=np.zeros((*shape, num_inputs), np.float32),
        logp=np.zeros(shape, np.float32),
        values=np.zeros((num_steps + 1, num_envs), np.float32),
        rewards=np.zeros(shape, np.float32),
        terminated=np.zeros(shape, np.bool_),
        truncated=np.zeros(shape, np.bool_),
        valid=np.zeros(shape, np.bool_),
        starts=np.zeros(shape, np.bool_),
        states=np.zeros((num_steps // sequence_length, num_envs, state_size), np.float32),
    )


def join(pieces: Sequence[Rollout]) -> Rollout:
    """Fragments that follow one another, as one."""
    columns = {f.name: [getattr(piece, f.name) for piece in pieces] for f in fields(Rollout)}
    values = columns.pop("values")
    return Rollout(
        values=np.concatenate([*(part[:-1] for part in values), values[-1][-1:]]),
        **{name: np.concatenate(parts) for name, parts in columns.items()},
    )


def parts_of(rollout: Rollout, num_envs: int) -> list[Rollout]:
    """The same steps in fragments of so many environments each."""
    begins = range(0, rollout.valid.shape[1], num_envs)
    columns = [f.name for f in fields(Rollout)]
    return [Rollout(**{name: getattr(rollout, name)[:, n : n + num_envs] for name in columns}) for n in begins]


def advantages(rollout: Rollout, gamma: float, gae_lambda: float) -> Floats:
    r"""Generalised advantage estimates ``[T, N]``, all environments at once; 0 where a step is not valid.

    .. math::
        \delta_t &= r_t + \gamma (1 - d_t) V(x_{t+1}) - V(x_t) \\
        A_t &= \delta_t + \gamma \lambda (1 - e_t) A_{t+1}

    ``d`` is one after termination only, ``e`` after termination and truncation: a truncated episode is bootstrapped
    from the value of its final observation, a terminated one is not.

    References:
        Schulman et al. (2016), "High-dimensional continuous control using generalized advantage estimation",
        arXiv:1506.02438, eqs. 11 and 16.
    """
    goes_on = ~(rollout.terminated | rollout.truncated)
    bootstrap = np.where(rollout.terminated, 0, rollout.values[1:])
    deltas = rollout.rewards + gamma * bootstrap - rollout.values[:-1]
    result = np.zeros_like(deltas)
    running = np.zeros_like(deltas[0])
    for t in range(len(deltas) - 1, -1, -1):
        running = np.where(rollout.valid[t], deltas[t] + gamma * gae_lambda * goes_on[t] * running, 0)
        result[t] = running
    return result.astype(np.float32)
