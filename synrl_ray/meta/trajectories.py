r"""Episodes of all tasks of a meta-batch, played together, and the advantages of what was done in them.

The baseline of each task is linear in the observation, its square, and powers of the time (Duan et al. 2016,
arXiv:1604.06778), fitted to the returns of the episodes themselves. The horizon is an end like any other: the time is
known to the baseline, and returns are summed up to there.

Legend: T environment steps, M tasks, E episodes of each, D features, A numbers of an action, K = T * E decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synrl_ray.envs.task_envs import TaskEnvs

_RIDGE, _LEAST_SHARE = 1e-5, 1e-12
"""Of the baseline's fit, beside sums over a task's decisions, and of the largest of them, for large observations."""
_SPREAD_FLOOR = 1e-8

Actor = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""Of observations ``[M, E, D]`` at a step: actions ``[M, E, A]`` as they were drawn, and ``[M * E, ...]`` as the
environments take them."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Episodes; what comes after an end is not valid, and 0.

    Attributes:
        observations: ``[T, M, E, D]`` of float32, before each step.
        actions: ``[T, M, E, A]`` of float32.
        rewards: ``[T, M, E]`` of float64.
        valid: ``[T, M, E]`` of bool.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    valid: np.ndarray

    @property
    def env_steps(self) -> np.ndarray:
        """Of each task, ``[M]``."""
        return np.asarray(self.valid.sum(axis=(0, 2)))

    @property
    def returns(self) -> np.ndarray:
        """Without discount, ``[M, E]``."""
        return np.asarray(self.rewards.sum(axis=0))


def play_episodes(envs: TaskEnvs, act: Actor, seeds: np.ndarray, horizon: int) -> Trajectories:
    """Play an episode in each environment, until all have ended or the horizon is reached.

    Args:
        envs: M * E of them, a task's side by side.
        act: chooses actions.
        seeds: ``[M, E]``, with which the environments are reset.
        horizon: most environment steps of an episode.
    """
    shape = seeds.shape
    seen = envs.reset(seeds.ravel().tolist()).reshape(*shape, -1)
    running = np.ones(shape, np.bool_)
    columns: tuple[list[np.ndarray], ...] = ([], [], [], [])
    for step in range(horizon):
        drawn, actions = act(seen, step)
        following, rewards, ended = envs.step(actions, running.ravel())
        rows = running[..., None]
        for column, value in zip(columns, (seen * rows, drawn * rows, rewards.reshape(shape), running), strict=True):
            column.append(value)
        seen, running = following.reshape(*shape, -1), running & ~ended.reshape(shape)
        if not running.any():
            break
    return Trajectories(*map(np.stack, columns))


def weights_of(played: Trajectories, horizon: int, discount: float, gae_lambda: float) -> np.ndarray:
    """Generalised advantages ``[T, M, E]``: centred, divided by their spread, and averaged over a task's decisions."""
    values = _baseline(played, horizon, discount)
    found, trace = np.empty_like(values), np.zeros(values.shape[1:])
    ahead = np.zeros(values.shape[1:])
    for t in reversed(range(len(found))):
        surprise = played.rewards[t] + discount * ahead - values[t]
        found[t] = trace = (surprise + discount * gae_lambda * trace) * played.valid[t]
        ahead = values[t]
    count = played.env_steps[None, :, None]
    centred = (found - found.sum(axis=(0, 2), keepdims=True) / count) * played.valid
    spread = np.sqrt(np.square(centred).sum(axis=(0, 2), keepdims=True) / count)
    return np.asarray(centred / ((spread + _SPREAD_FLOOR) * count))


def _baseline(played: Trajectories, horizon: int, discount: float) -> np.ndarray:
    """The values of the states ``[T, M, E]`` that were met; 0 in rows that are not valid."""
    returns = np.empty_like(played.rewards)
    ahead = np.zeros(returns.shape[1:])
    for t in reversed(range(len(returns))):
        returns[t] = ahead = played.rewards[t] + discount * ahead
    seen = played.observations.astype(np.float64)
    time = np.broadcast_to((np.arange(len(returns)) / horizon)[:, None, None], returns.shape)
    columns = [seen, np.square(seen), *(np.stack([time**power], -1) for power in range(4))]
    features = np.concatenate(columns, -1) * played.valid[..., None]
    flat = features.transpose(1, 0, 2, 3).reshape(features.shape[1], -1, features.shape[-1])
    targets = returns.transpose(1, 0, 2).reshape(len(flat), -1, 1)
    squares = flat.transpose(0, 2, 1) @ flat
    largest = np.diagonal(squares, axis1=1, axis2=2).max(1)  # of which rounding is a share
    squares += np.maximum(_RIDGE, _LEAST_SHARE * largest)[:, None, None] * np.eye(flat.shape[-1])
    fitted = np.linalg.solve(squares, flat.transpose(0, 2, 1) @ targets)
    return np.asarray(np.einsum("tmef,mf->tme", features, fitted[..., 0]))
