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
Arrays = dict[str, np.ndarray]


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
    columns: list[Arrays] = []
    for rollout in rollouts:
        if reward_scale != 1.0:
            rollout = replace(rollout, rewards=rollout.rewards * np.float32(reward_scale))
        if not use_baseline:
            rollout = replace(rollout, values=np.zeros_like(rollout.values))
        advantage = advantages(rollout, gamma, gae_lambda)
        columns.append(
            {
                **collected(rollout),
                Columns.ACTION_DIST_INPUTS: rollout.inputs,
                Columns.ADVANTAGES: advantage,
                Columns.VALUE_TARGETS: advantage + rollout.values[:-1],
            }
        )
    if standardise:
        valid = [rollout.valid for rollout in rollouts]
        standardise_together([c[Columns.ADVANTAGES] for c in columns], valid, centre=use_baseline)
    return batch_of(columns, rollouts)


def collected(rollout: Rollout) -> Arrays:
    """The columns ``[T, N, ...]`` of what was met and done."""
    return {
        Columns.OBS: rollout.observations,
        Columns.ACTIONS: rollout.actions,
        Columns.ACTION_LOGP: rollout.logp,
        Columns.LOSS_MASK: rollout.valid,
        EPISODE_STARTS: rollout.starts,
    }


def batch_of(columns: Sequence[Arrays], rollouts: Sequence[Rollout], *, every_row: bool = False) -> Batch:
    """A batch of columns that have those of :func:`collected`; arguments as of :func:`arranged`."""
    batch = arranged(columns, rollouts, every_row=every_row)
    if _carries_state(rollouts):
        states = np.concatenate([r.states.reshape(-1, r.states.shape[-1]) for r in rollouts])
        batch[Columns.STATE_IN] = {STATE: torch.from_numpy(states)}
    else:
        del batch[EPISODE_STARTS]
        if not every_row:
            del batch[Columns.LOSS_MASK]
    return batch


def arranged(columns: Sequence[Arrays], rollouts: Sequence[Rollout], *, every_row: bool = False) -> Batch:
    """Columns of each rollout as tensors of a batch.

    Args:
        columns: ``[T, N, ...]`` of each rollout, by their names.
        rollouts: that they belong to.
        every_row: keep the steps that are not valid where no state is carried too: rows ``[T N, ...]`` of each rollout,
            which :func:`fragments` takes apart.
    """
    arrange: Callable[[np.ndarray, Rollout], np.ndarray]
    arrange = _sequences if _carries_state(rollouts) else _rows if every_row else _valid_rows
    return {
        name: torch.from_numpy(np.concatenate([arrange(c[name], r) for c, r in zip(columns, rollouts, strict=True)]))
        for name in columns[0]
    }


def fragments(column: Tensor, rollouts: Sequence[Rollout]) -> list[np.ndarray]:
    """A column of a number for each step, of a batch with every row, as ``[T, N]`` for each rollout."""
    numbers, found, begin = column.detach().cpu().numpy().reshape(-1), [], 0
    for rollout in rollouts:
        num_steps, num_envs = rollout.valid.shape
        part = numbers[begin : begin + num_steps * num_envs]
        begin += num_steps * num_envs
        if rollout.states.shape[-1]:  # sequences, of one environment each
            part = part.reshape(len(rollout.states), num_envs, -1).swapaxes(1, 2)
        found.append(part.reshape(num_steps, num_envs))
    return found


def num_minibatches(batch: Batch, minibatch_size: int | None) -> int:
    """Parts of each pass.

    Args:
        batch: of :func:`train_batch`.
        minibatch_size: steps of a part, as many whole sequences as come near to it; ``None`` for the whole batch. Parts
            are of equal size: a small rest would get a whole step of its own.
    """
    rows, steps_each = num_rows(batch), batch[Columns.ACTION_LOGP][0].numel()
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
        device = batch[Columns.ACTION_LOGP].device  # random numbers are the CPU's on every device
        order = torch.randperm(num_rows(batch)).to(device) if parts > 1 else None
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
    return len(batch[Columns.ACTION_LOGP])


def _split(batch: Batch, order: Tensor | None, parts: int) -> list[Batch]:
    """Every column in that order, in parts."""
    columns = {
        name: _split(column, order, parts)
        if isinstance(column, dict)
        else (column if order is None else column[order]).tensor_split(parts)
        for name, column in batch.items()
    }
    return [dict(zip(columns, part, strict=True)) for part in zip(*columns.values(), strict=True)]


def standardise_together(parts: Sequence[np.ndarray], valid: Sequence[np.ndarray], *, centre: bool = True) -> None:
    """Bring arrays in place to standard deviation 1, and with ``centre`` to mean 0, over what is valid in all."""
    every = np.concatenate([part[mask] for part, mask in zip(parts, valid, strict=True)])
    if not every.size:
        return
    mean, std = every.mean() if centre else 0.0, max(float(every.std()), 1e-4)
    for part in parts:
        part -= mean
        part /= std


def _carries_state(rollouts: Sequence[Rollout]) -> bool:
    return rollouts[0].states.shape[-1] > 0


def _rows(array: np.ndarray, rollout: Rollout) -> np.ndarray:
    return array.reshape(-1, *array.shape[2:])


def _valid_rows(array: np.ndarray, rollout: Rollout) -> np.ndarray:
    return array[rollout.valid]


def _sequences(array: np.ndarray, rollout: Rollout) -> np.ndarray:
    """``[T, N, ...]`` → ``[T/L * N, L, ...]``, in the order of the states."""
    num_sequences = rollout.states.shape[0]
    split = array.reshape(num_sequences, -1, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(-1, split.shape[1], *array.shape[2:])
