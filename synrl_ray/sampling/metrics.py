"""What env runners report, under RLlib's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.core import DEFAULT_AGENT_ID, DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_MODULE_STEPS_SAMPLED,
)

SECONDS = "seconds"
"""Where the seconds of an iteration are reported, by what they were spent on."""
NUM_EPISODES_CUT = "num_episodes_cut"
"""Where whole episodes are counted that had not ended after the most steps that one may have."""
PLASTICITY = "plasticity"
"""Where the diagnostics of plastic weights are reported."""


def log_episode(metrics: Any, length: float, episode_return: float, window: int) -> None:
    """Log an episode that has ended; means, minimum and maximum are over the last ``window`` episodes."""
    metrics.log_value(EPISODE_LEN_MEAN, float(length), window=window)
    metrics.log_value(EPISODE_RETURN_MEAN, float(episode_return), window=window)
    metrics.log_value(EPISODE_RETURN_MIN, float(episode_return), reduce="min", window=window)
    metrics.log_value(EPISODE_RETURN_MAX, float(episode_return), reduce="max", window=window)
    metrics.log_value(NUM_EPISODES, 1, reduce="sum")


def log_cut(metrics: Any, number: int) -> None:
    """Log how many whole episodes had not ended where they were cut, if any."""
    if number:
        metrics.log_value(NUM_EPISODES_CUT, number, reduce="sum")


def log_episodes(metrics: Any, lengths: np.ndarray, returns: np.ndarray, window: int) -> None:
    """Log many episodes ``[n]`` by the figures of the newest: a row for each would take longer than a fast runner's
    learning from it."""
    if not len(returns):
        return
    newest = returns[-window:]
    metrics.log_value(EPISODE_LEN_MEAN, float(lengths[-window:].mean()), window=1)
    metrics.log_value(EPISODE_RETURN_MEAN, float(newest.mean()), window=1)
    metrics.log_value(EPISODE_RETURN_MIN, float(newest.min()), reduce="min", window=1)
    metrics.log_value(EPISODE_RETURN_MAX, float(newest.max()), reduce="max", window=1)
    metrics.log_value(NUM_EPISODES, len(returns), reduce="sum")


def log_plasticity(metrics: Any, diagnostics: Mapping[str, float]) -> None:
    """Log what a plastic module says of its learning."""
    for name, value in diagnostics.items():
        metrics.log_value((PLASTICITY, name), value, window=1)


def log_seconds(metrics: Any, seconds: Mapping[str, float]) -> None:
    """Log what a fragment took, and that it was one, though no episode may have ended in it."""
    for name, value in seconds.items():
        metrics.log_value((SECONDS, name), value, reduce="sum")
    metrics.log_value(NUM_EPISODES, 0, reduce="sum")  # a sum of nothing would be NaN


def log_steps(metrics: Any, num_steps: int, seconds: Mapping[str, float]) -> None:
    """Log environment steps, and what they took: of several runners the sums are reported, seconds of all their
    processes together."""
    log_seconds(metrics, seconds)
    metrics.log_value(NUM_ENV_STEPS_SAMPLED, num_steps, reduce="sum")
    metrics.log_value((NUM_AGENT_STEPS_SAMPLED, DEFAULT_AGENT_ID), num_steps, reduce="sum")
    metrics.log_value((NUM_MODULE_STEPS_SAMPLED, DEFAULT_MODULE_ID), num_steps, reduce="sum")
    metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, num_steps, reduce="lifetime_sum", with_throughput=True)
