"""From rollouts to the columns of RLlib's learner.

Legend: T environment steps, N environments, M valid steps of all runners, B sequences of L steps, S state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from synrl_ray.rl_modules.actor_critic import EPISODE_STARTS, STATE
from synrl_ray.sampling.rollout import Rollout, advantages

Batch = dict[str, Any]


def train_batch(
    rollouts: Sequence[Rollout],
    *,
    gamma: float,
    gae_lambda: float,
    standardise: bool,
    use_baseline: bool = True,
    reward_scale: float = 1.0,
) -> Batch:
    """One batch with advantages and value targets.

    Without state, the valid steps as rows ``[M, ...]``. With state, sequences ``[B, L, ...]`` with the state at their
    start, the steps at which episodes start inside them, and a loss mask of the valid steps.

    Args:
        rollouts: of all env runners.
        gamma, gae_lambda: of :func:`synrl_ray.sampling.rollout.advantages`.
        standardise: bring the advantages to mean 0 and standard deviation 1 over the valid steps; without
            baseline they are only scaled, since subtracting their mean would be one.
        use_baseline: subtract the critic's values; without it the advantages are the discounted rewards to go, and
            the critic has nothing to learn.
        reward_scale: factor of the rewards.
    """
    columns: list[dict[str, np.ndarray]] = []
    for rollout in rollouts:
        if reward_scale != 1.0:
            rollout = replace(rollout, rewards=rollout.rewards * np.float32(reward_scale))
        if not use_baseline:
            rollout = replace(rollout, values=np.zeros_like(rollout.values))
        advantage = advantages(rollout, gamma, gae_lambda)
        columns.append(
            {
                Columns.OBS: rollout.observations,
                Columns.ACTIONS: rollout.actions,
                Columns.ACTION_LOGP: rollout.logp,
                Columns.ACTION_DIST_INPUTS: rollout.inputs,
                Columns.ADVANTAGES: advantage,
                Columns.VALUE_TARGETS: advantage + rollout.values[:-1],
                Columns.LOSS_MASK: rollout.valid,
                EPISODE_STARTS: rollout.starts,
            }
        )
    if standardise:
        _standardise([c[Columns.ADVANTAGES] for c in columns], [r.valid for r in rollouts], centre=use_baseline)
    carries_state = rollouts[0].states.shape[-1] > 0
    arrange: Callable[[np.ndarray, Rollout], np.ndarray] = _sequences if carries_state else _valid_rows
    batch: Batch = {
        name: torch.from_numpy(np.concatenate([arrange(c[name], r) for c, r in zip(columns, rollouts, strict=True)]))
        for name in columns[0]
    }
    if carries_state:
        states = np.concatenate([r.states.reshape(-1, r.states.shape[-1]) for r in rollouts])
        batch[Columns.STATE_IN] = {STATE: torch.from_numpy(states)}
    else:
        del batch[Columns.LOSS_MASK], batch[EPISODE_STARTS]
    return batch


def num_minibatches(batch: Batch, minibatch_size: int | None) -> int:
    """Parts of each pass.

    Args:
        batch: of :func:`train_batch`.
        minibatch_size: steps of a part, as many whole sequences as come near to it; ``None`` for the whole batch. Parts
            are of equal size: a small rest would get a whole step of its own.
    """
    rows, steps_each = num_rows(batch), batch[Columns.ADVANTAGES][0].numel()
    size = rows if minibatch_size is None else max(1, minibatch_size // steps_each)
    return max(1, round(rows / size))


def minibatches(batch: Batch, num_epochs: int, parts: int) -> Iterator[Batch]:
    """Pass over every row exactly once in each epoch, in a new order.

    Args:
        batch: of :func:`train_batch`, or a share of it.
        num_epochs: passes.
        parts: of each pass, see :func:`num_minibatches`.
    """
    for _ in range(num_epochs):
        order = torch.randperm(num_rows(batch)) if parts > 1 else None
        yield from _split(batch, order, parts)


def shares(batch: Batch, number: int) -> list[Batch]:
    """The batch in parts of nearly equal size, one for each learner."""
    return _split(batch, None, number)


def num_valid(batch: Batch) -> int:
    """Steps that count for the loss."""
    if Columns.LOSS_MASK in batch:
        return int(batch[Columns.LOSS_MASK].sum())
    return num_rows(batch)


def num_rows(batch: Batch) -> int:
    """Rows of a batch: steps, or sequences."""
    return len(batch[Columns.ADVANTAGES])


def _split(batch: Batch, order: Tensor | None, parts: int) -> list[Batch]:
    """Every column in that order, in parts."""
    columns = {
        name: _split(column, order, parts)
        if isinstance(column, dict)
        else (column if order is None else column[order]).tensor_split(parts)
        for name, column in batch.items()
    }
    return [dict(zip(columns, part, strict=True)) for part in zip(*columns.values(), strict=True)]


def _standardise(parts: Sequence[np.ndarray], valid: Sequence[np.ndarray], *, centre: bool) -> None:
    every = np.concatenate([part[mask] for part, mask in zip(parts, valid, strict=True)])
    mean, std = every.mean() if centre else 0.0, max(float(every.std()), 1e-4)
    for part in parts:
        part -= mean
        part /= std


def _valid_rows(array: np.ndarray, rollout: Rollout) -> np.ndarray:
    return array[rollout.valid]


def _sequences(array: np.ndarray, rollout: Rollout) -> np.ndarray:
    """``[T, N, ...]`` → ``[T/L * N, L, ...]``, in the order of the states."""
    num_sequences = rollout.states.shape[0]
    split = array.reshape(num_sequences, -1, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(-1, split.shape[1], *array.shape[2:])
