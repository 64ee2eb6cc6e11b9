"""Trials of an environment of spike times, as its agents meet them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from synrl_ray.envs.spike_trials import SpikeTrialsEnv


def played(make: Callable[..., SpikeTrialsEnv], number: int = 400, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations ``[S, K, I]`` and right actions ``[S]``."""
    env = make(trials=number, **kwargs)
    observations, right = [env.reset(seed=3)[0]], [env.right_action]
    for _ in range(number - 1):
        observations.append(env.step(np.int64(0))[0])
        right.append(env.right_action)
    return np.stack(observations), np.array(right)


def spike_times(make: Callable[..., SpikeTrialsEnv], number: int = 400, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Spike times ``[S, I]``, of which every input has one, and right actions ``[S]``."""
    spikes, right = played(make, number, **kwargs)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    assert (spikes.sum(axis=1) == 1).all()
    return spikes.argmax(axis=1), right
