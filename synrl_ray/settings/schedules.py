"""Schedules, as plain functions that compiled code can take in."""

from __future__ import annotations


def linear(start: float, end: float, num_steps: int, env_steps: int) -> float:
    """A number that changes linearly in the environment steps of the run and stays at its end.

    Example:
        >>> [linear(1.0, 0.0, 100, steps) for steps in (0, 25, 100, 200)]
        [1.0, 0.75, 0.0, 0.0]
    """
    return start + (end - start) * min(1.0, env_steps / num_steps)
