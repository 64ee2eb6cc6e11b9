"""Episodes of a policy, one per environment and seed, so that no episode is favoured.

Legend: N environments that act together, S state features. Arrays are in episode order.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from synrl_ray.envs.checked import CheckedEnv, checked, name_of
from synrl_ray.envs.time_limit import most_steps, time_limit
from synrl_ray.errors import UserError
from synrl_ray.evaluation.statistics import Summary, summarise
from synrl_ray.results import Episodes

MakeEnv = Callable[[], gymnasium.Env[Any, Any]]
_DIGEST_BYTES = 6
"""Among a thousand different episodes two have the same digest with a chance of 2e-9."""
Progress = Callable[[int, int], None]
"""``progress(episodes finished, episodes asked for)``."""


class BatchPolicy(Protocol):
    """A policy on numpy arrays whose state goes in and comes out; rows never influence each other."""

    def initial_state(self, batch: int, /) -> NDArray[Any]:
        """Return the state ``[N, S]`` with which an episode starts; S may be 0."""
        ...

    def act(
        self, observations: NDArray[Any], state: NDArray[Any], /, *, deterministic: bool = True
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Map observations ``[N, ...]`` and state ``[N, S]`` to actions ``[N, ...]`` and the next state."""
        ...


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What the episodes of one evaluation gave.

    Attributes:
        returns: undiscounted return of each episode, ``[episodes]``, reward units.
        lengths: length of each episode, ``[episodes]``, environment steps.
        digests: of each episode's observations, actions and rewards, in hexadecimal: equal ones are equal episodes.
        env_steps: sum of the lengths.
        seconds: wall time of the rollouts, without making the environments.
        protocol: how it was done, ready for JSON: environment, time limit, episodes, seeds, statistics.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    digests: tuple[str, ...]
    env_steps: int
    seconds: float
    protocol: dict[str, Any]

    def summary(self) -> Summary:
        """Summarise the returns as those of one seed."""
        return summarise(self.returns)

    def recorded(self) -> Episodes:
        """The episodes as results keep them."""
        first = self.protocol["first_seed"]
        return Episodes(
            seeds=tuple(range(first, first + len(self.returns))),
            returns=tuple(self.returns.tolist()),
            lengths=tuple(self.lengths.tolist()),
            digests=self.digests,
        )


def evaluate_policy(
    policy: BatchPolicy,
    make_env: MakeEnv,
    *,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    max_parallel: int = 32,
    max_env_steps: int | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Let a policy act: episode ``i`` is the one and only episode of seed ``seed + i``.

    Taking "the first n episodes to finish" from running environments would favour short ones. Here each wave
    starts up to ``max_parallel`` environments together and ends with its longest episode. A finished environment
    leaves the batch, so that neither it nor the policy computes steps that nobody counts. Environments are reused
    from wave to wave through ``reset(seed=...)``.

    Args:
        policy: acts on all running environments at once.
        make_env: makes one environment.
        episodes: how many, at least 1.
        seed: of the first episode, at least 0.
        deterministic: handed to the policy: whether it takes its likeliest actions or draws them.
        max_parallel: most environments in one wave.
        max_env_steps: where to cut an episode of an environment that sets no time limit,
            :data:`~synrl_ray.envs.time_limit.MOST_STEPS` by default; the protocol says how many episodes were cut.
        progress: called whenever episodes have finished.
    Returns:
        Returns and lengths in episode order; of deterministic actions the same for any ``max_parallel``.
    Raises:
        ValueError: if a setting is out of range or the policy returns the wrong number of rows.
        UserError: if the environment raises, breaks Gymnasium's contract, or gives a reward or observation that is not
            finite, or observations that are no arrays.
    """
    for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0), ("max_parallel", max_parallel, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    envs: list[CheckedEnv] = []
    try:
        for _ in range(min(episodes, max_parallel)):
            envs.append(checked(make_env()))  # noqa: PERF401 (those already made are closed if a later one fails)
        limit = time_limit(envs[0])
        longest = limit or max_env_steps or most_steps(envs[0])
        num_cut = 0
        returns = np.zeros(episodes, dtype=np.float64)
        lengths = np.zeros(episodes, dtype=np.int64)
        hashes = [hashlib.blake2b(digest_size=_DIGEST_BYTES) for _ in range(episodes)]
        act = partial(policy.act, deterministic=deterministic)
        started = time.perf_counter()
        for first in range(0, episodes, max_parallel):
            wave = slice(first, min(first + max_parallel, episodes))
            state = policy.initial_state(wave.stop - wave.start)
            num_cut += _run_wave(act, state, envs, seed, wave, longest, returns, lengths, hashes, progress)
        seconds = time.perf_counter() - started
        protocol = _protocol(envs[0], episodes, seed, deterministic)
        if limit is None:
            protocol |= {"cut_after": longest, "episodes_cut": num_cut}
    finally:
        for env in envs:
            env.close()
    digests = tuple(each.hexdigest() for each in hashes)
    return EvaluationResult(returns, lengths, digests, int(lengths.sum()), seconds, protocol)


def _run_wave(
    act: Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]],
    state: NDArray[Any],
    envs: Sequence[CheckedEnv],
    seed: int,
    wave: slice,
    longest: int,
    returns: NDArray[np.float64],
    lengths: NDArray[np.int64],
    hashes: Sequence[Any],
    progress: Progress | None,
) -> int:
    """Run the episodes ``wave`` to their ends and write what they gave into ``returns``, ``lengths`` and ``hashes``.

    Those that have not ended after ``longest`` steps are cut; it says how many these were.
    """
    num_episodes = len(returns)
    num_before, num_in_wave = wave.start, wave.stop - wave.start
    running = [(wave.start + i, envs[i]) for i in range(num_in_wave)]
    observations = _stack([env.reset(seed=seed + episode)[0] for episode, env in running], running, seed, 0)
    env_step = 0
    while running:
        actions, state = act(observations, state)
        if len(actions) != len(running) or len(state) != len(running):
            raise ValueError(
                f"the policy was given {len(running)} observations and returned {len(actions)} actions "
                f"and {len(state)} states"
            )
        env_step += 1
        next_observations, ended = [], []
        for row, (episode, env) in enumerate(running):
            observation, reward, terminated, truncated, _ = env.step(actions[row])
            if not math.isfinite(reward):
                raise _not_finite(f"reward = {reward}", env, episode, seed, env_step)
            returns[episode] += reward
            for part in (observations[row], actions[row], np.float64(reward)):
                hashes[episode].update(np.ascontiguousarray(part))
            next_observations.append(observation)
            ended.append(terminated or truncated)
        observations = _stack(next_observations, running, seed, env_step)
        if any(ended):
            keep = ~np.asarray(ended, dtype=bool)
            for (episode, _), has_ended in zip(running, ended, strict=True):
                if has_ended:
                    lengths[episode] = env_step
            running = [slot for slot, has_ended in zip(running, ended, strict=True) if not has_ended]
            observations, state = observations[keep], state[keep]
            if progress is not None:
                progress(num_before + num_in_wave - len(running), num_episodes)
        if running and env_step >= longest:
            lengths[[episode for episode, _ in running]] = env_step
            if progress is not None:
                progress(num_before + num_in_wave, num_episodes)
            break
    return len(running)


def _stack(
    observations: list[Any], running: Sequence[tuple[int, CheckedEnv]], seed: int, env_step: int
) -> NDArray[Any]:
    """Stack observations to ``[N, ...]`` and refuse values a policy cannot use."""
    stacked = np.stack(observations)
    if stacked.dtype == object:
        raise UserError(
            f"{name_of(running[0][1])} gives observations that are no arrays: {type(observations[0]).__name__}",
            "wrap it in gymnasium.wrappers.FlattenObservation",
        )
    if stacked.dtype.kind == "f" and not np.isfinite(stacked).all():
        row, *index = (int(i) for i in np.argwhere(~np.isfinite(stacked))[0])
        episode, env = running[row]
        raise _not_finite(f"observation{index} = {stacked[(row, *index)]}", env, episode, seed, env_step)
    return stacked


def _not_finite(what: str, env: CheckedEnv, episode: int, seed: int, env_step: int) -> UserError:
    return UserError(
        f"{what} is not finite: {name_of(env)}, episode {episode} (seed {seed + episode}), environment step {env_step}",
        "check the environment, or the actions that it was given",
    )


def _protocol(env: CheckedEnv, episodes: int, seed: int, deterministic: bool) -> dict[str, Any]:
    return {
        "environment": name_of(env),
        "time_limit": time_limit(env),
        "episodes": int(episodes),
        "first_seed": int(seed),
        "seeding": "episode i is reset with first_seed + i; one episode per environment and wave",
        "greedy": deterministic,
        "statistics": ["mean", "std", "iqm", "ci95 (stratified bootstrap of the iqm)", "minimum", "maximum"],
    }
