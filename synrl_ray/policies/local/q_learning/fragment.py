"""Environment and Q-learning in one compiled loop.

Legend: N environments, S states, A actions, K outcomes of an action.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synrl_ray.compiled import jit_checked
from synrl_ray.envs.tabular import TransitionTable
from synrl_ray.envs.tabular_kernels import draw, step
from synrl_ray.policies.local.agent import Clock
from synrl_ray.policies.local.q_learning.kernels import choose, update
from synrl_ray.settings.schedules import linear

_NEVER = np.iinfo(np.int64).max
_linear = jit_checked(linear)


class Dynamics(NamedTuple):
    """A :class:`~synrl_ray.envs.tabular.TransitionTable` as compiled code takes it."""

    cumulative: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    initial_cumulative: np.ndarray
    time_limit: int


class Schedule(NamedTuple):
    """The arguments of :func:`~synrl_ray.settings.schedules.linear`."""

    start: float
    end: float
    num_steps: int


def dynamics_of(table: TransitionTable) -> Dynamics:
    """The table's arrays."""
    limit = _NEVER if table.time_limit is None else table.time_limit
    return Dynamics(table.cumulative, table.next_state, table.reward, table.terminated, table.initial_cumulative, limit)


@jit_checked
def scheduled(schedule: Schedule, steps: int) -> float:
    """A schedule's number after so many environment steps."""
    return _linear(schedule.start, schedule.end, schedule.num_steps, steps)


@jit_checked
def learn_fragment(
    q: np.ndarray,
    dynamics: Dynamics,
    clock: Clock,
    epsilon: Schedule,
    lr: Schedule,
    gamma: float,
    states: np.ndarray,
    elapsed: np.ndarray,
    returns: np.ndarray,
    episode_returns: np.ndarray,
    episode_lengths: np.ndarray,
    random: np.random.Generator,
) -> tuple[int, float]:
    """Act, step and learn T times in N environments; an episode's end is followed at once by a new episode.

    Of ``random`` each step takes N uniform numbers for the actions; then, environment by environment, one for the
    outcome where K > 1, and one for the first state where the episode has ended.

    Args:
        q: ``[S, A]``; changed.
        dynamics, clock, epsilon, lr, gamma: what is learned, when and how.
        states, elapsed, returns: ``[N]``, of the present episodes; changed.
        episode_returns, episode_lengths: ``[T * N]``, receive those of the episodes that end, in order.
        random: source of randomness.

    Returns:
        How many episodes have ended, and the sum of the absolute TD errors.
    """
    num_envs, num_episodes, sum_errors = states.size, 0, 0.0
    has_chance = dynamics.cumulative.shape[2] > 1
    actions = np.empty(num_envs, np.int64)
    for t in range(clock.num_steps):
        steps = clock.first + t * clock.stride
        random_share, step_size = scheduled(epsilon, steps), scheduled(lr, steps)
        for n in range(num_envs):
            actions[n] = choose(q[states[n]], random_share, random.random())
        for n in range(num_envs):
            outcome = random.random() if has_chance else 0.0
            following, reward, terminated = step(
                dynamics.cumulative,
                dynamics.next_state,
                dynamics.reward,
                dynamics.terminated,
                states[n],
                actions[n],
                outcome,
            )
            sum_errors += abs(update(q, states[n], actions[n], reward, terminated, following, step_size, gamma))
            states[n] = following
            elapsed[n] += 1
            returns[n] += reward
            if terminated or elapsed[n] >= dynamics.time_limit:
                episode_returns[num_episodes], episode_lengths[num_episodes] = returns[n], elapsed[n]
                num_episodes += 1
                states[n] = draw(dynamics.initial_cumulative, random.random())
                elapsed[n], returns[n] = 0, 0.0
    return num_episodes, sum_errors
