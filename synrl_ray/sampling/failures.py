"""Vector environments that go on when an environment fails, and the count of how often they did.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, concatenate, iterate

from synrl_ray.envs.checked import ATTEMPTS, RAISED, EnvironmentFailure, cause_of, checked, describe
from synrl_ray.envs.contract import Breach, check_column, reader_of, values_of
from synrl_ray.envs.flat import FlatSpace, action_mask, flattened
from synrl_ray.errors import UserError

FAILURE = "failure"
"""Key of ``info``: the cause of a failure, ``None`` where there was none. ``"_failure"`` marks the environments whose
step is void; their observation is the first of a new episode."""
TOLERATED = 3
"""Failures that never stop a run, whatever share of its steps they are."""
_LARGEST = float(np.finfo(np.float32).max)
_TRUSTED = ("gymnasium", "ale_py")
"""Packages whose vector environments keep the contract; looking would slow the fastest of them down."""


def keep_going(make_all: Callable[[], VectorEnv], make_one: Callable[[], gym.Env]) -> VectorEnv:
    """Environments that go on after a failure.

    Args:
        make_all: makes the vector environment.
        make_one: makes one more of its environments; used where it is Gymnasium's :class:`SyncVectorEnv`.
    """
    envs = make_all()
    return (
        RestartingVectorEnv.adopt(envs, make_one) if type(envs) is SyncVectorEnv else ResettingVectorEnv(envs, make_all)
    )


class RestartingVectorEnv(SyncVectorEnv):
    """Environments that step one after another, each of which is closed and made anew when it fails.

    It fails when ``step`` or ``reset`` raises or breaks Gymnasium's contract
    (:class:`~synrl_ray.envs.checked.CheckedEnv`), or reward or observation is not finite. Its reward is then 0, its
    episode does not go on, and ``info`` says so under :data:`FAILURE`.

    Raises:
        UserError: as an environment raises it; and if an environment fails again as soon as it is made anew.
    """

    make: Callable[[], gym.Env]

    @classmethod
    def adopt(cls, envs: SyncVectorEnv, make: Callable[[], gym.Env]) -> RestartingVectorEnv:
        """Take over environments that are already made.

        Args:
            envs: the environments; not to be used any more.
            make: makes one more of them.
        """
        self = cls.__new__(cls)
        vars(self).update(vars(envs))
        self.envs = [checked(env) for env in envs.envs]
        vars(envs)["envs"] = []  # else they would be closed with it
        self.make = lambda: checked(make())
        self._seeds = np.random.default_rng()
        return self

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New episodes everywhere; see :class:`SyncVectorEnv`."""
        seeds = [seed + n for n in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        if seeds[0] is not None:
            self._seeds = np.random.default_rng(seeds)
        infos: dict[str, Any] = {}
        for n, env in enumerate(self.envs):
            try:
                self._env_obs[n], info = env.reset(seed=seeds[n], options=options)
            except EnvironmentFailure as failure:
                info = self._restart(n, failure.what)
            infos = self._add_info(infos, info, n)
        self._terminations[:] = self._truncations[:] = False
        infos = self._gather(infos)
        return np.array(self._observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step everywhere, or the reset that follows an episode's end; see :class:`SyncVectorEnv`."""
        infos: dict[str, Any] = {}
        for n, action in enumerate(iterate(self.action_space, actions)):
            try:
                if self._autoreset_envs[n]:
                    self._env_obs[n], info = self.envs[n].reset()
                    self._rewards[n], self._terminations[n], self._truncations[n] = 0.0, False, False
                else:
                    (
                        self._env_obs[n],
                        self._rewards[n],
                        self._terminations[n],
                        self._truncations[n],
                        info,
                    ) = self.envs[n].step(action)
            except EnvironmentFailure as failure:
                info = self._restart(n, failure.what)
            if info:
                infos = self._add_info(infos, info, n)
        infos = self._gather(infos)
        return (
            np.array(self._observations),
            self._rewards.copy(),
            self._terminations.copy(),
            self._truncations.copy(),
            infos,
        )

    def _gather(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Join the observations; restart environments that gave what is not finite."""
        observations: Any = concatenate(self.single_observation_space, self._env_obs, self._observations)
        for n, cause in not_finite(observations, self._rewards).items():
            infos = self._add_info(infos, self._restart(n, cause), n)
            observations[n] = self._env_obs[n]
        self._observations = observations
        self._autoreset_envs = self._terminations | self._truncations
        return infos

    def _restart(self, n: int, cause: str) -> dict[str, str]:
        """Environment ``n`` anew, in a new episode; what ``info`` says of it."""
        first = cause
        for _ in range(ATTEMPTS):
            self.envs[n].close()
            try:
                self.envs[n] = self.make()
                observation, _ = self.envs[n].reset(seed=int(self._seeds.integers(2**31, 2**32)))
            except EnvironmentFailure as failure:
                cause = failure.what
            except UserError:
                raise
            except RAISED as error:
                cause = describe(error)
            else:
                if _finite(np.asarray(observation)).all():
                    self._env_obs[n] = observation
                    self._rewards[n], self._terminations[n], self._truncations[n] = 0.0, False, False
                    return {FAILURE: first}
                cause = "its first observation is not finite"
        raise _given_up(f"environment {n}", first, cause)


class ResettingVectorEnv(VectorWrapper):
    """A vector environment whose parts cannot be made anew alone: when one fails, all start new episodes.

    Its arrays are held to Gymnasium's contract as those of single environments are, unless it is Gymnasium's own or
    ale-py's. Observations of several parts are flattened, too.

    Args:
        envs: the vector environment.
        make: makes it again after it has raised.
    """

    def __init__(self, envs: VectorEnv, make: Callable[[], VectorEnv]) -> None:
        super().__init__(envs)
        self.make = make
        self._read = reader_of(envs.observation_space)
        self._is_trusted = type(envs.unwrapped).__module__.partition(".")[0] in _TRUSTED
        self._mask = None
        flat = flattened(envs.single_observation_space)
        if isinstance(flat, FlatSpace):
            read, self._is_trusted = self._read, False
            self._read = lambda observations: flat.flatten(read(observations))
            self._mask = action_mask(flat, envs.single_action_space)
            self.single_observation_space, self.observation_space = flat, batch_space(flat, self.num_envs)
        self.reports_episodes = getattr(self.env, "reports_episodes", False)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New episodes everywhere.

        Raises:
            UserError: if there are none.
        """
        try:
            observations, infos = values_of(self.env.reset(seed=seed, options=options), "reset")
            observations = self._read(observations)
            causes: Mapping[int, str] = not_finite(observations, np.zeros(self.num_envs))
            if not causes:
                return observations, infos
        except UserError:
            raise
        except RAISED as error:
            causes = {0: cause_of(error, "reset")}
        return self._anew(next(iter(causes.values()))), self._told(causes)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step everywhere."""
        try:
            returned = self.env.step(actions)
            if not self._is_trusted:
                returned = self._checked(returned)
            observations, rewards, terminated, truncated, infos = returned
            causes: Mapping[int, str] = not_finite(observations, rewards)
            if not causes:
                return observations, rewards, terminated, truncated, infos
            observations, _ = self.reset()
        except UserError:
            raise
        except RAISED as error:
            causes = {0: cause_of(error, "step")}
            observations = self._anew(causes[0])
        nothing = np.zeros(self.num_envs, np.bool_)
        return observations, np.zeros(self.num_envs), nothing, nothing.copy(), self._told(causes)

    def _told(self, causes: Mapping[int, str]) -> dict[str, Any]:
        """That all environments have failed, some of them for a cause of their own."""
        failure = np.array([causes.get(n) for n in range(self.num_envs)], dtype=object)
        return {FAILURE: failure, f"_{FAILURE}": np.ones(self.num_envs, np.bool_)}

    def _checked(self, returned: Any) -> tuple[Any, ...]:
        observations, rewards, terminated, truncated, infos = values_of(returned, "step")
        for values, name, kinds in (
            (rewards, "rewards", "biuf"),
            (terminated, "terminated", "b"),
            (truncated, "truncated", "b"),
        ):
            check_column(values, name, (self.num_envs,), kinds)
        read = self._read(observations)
        if self._mask is not None and (self._mask.forbids_all(read) & ~terminated).any():
            raise Breach("an action mask that allows no action", "allow one, or terminate the episode")
        return read, rewards, terminated, truncated, infos

    def _anew(self, cause: str) -> np.ndarray:
        """The first observations of other environments in the place of these, which have failed."""
        close_quietly(self.env)
        try:
            self.env = self.make()
            observations, _ = values_of(self.env.reset(), "reset")
            found = np.asarray(self._read(observations))
        except UserError:
            raise
        except RAISED as error:
            raise _given_up("the environments", cause, cause_of(error, "reset")) from error
        if broken := not_finite(found, np.zeros(self.num_envs)):
            raise _given_up("the environments", cause, next(iter(broken.values())))
        return found


@dataclass
class FailureCount:
    """How often environments have failed, and whether that is more than a run may have.

    Args:
        name: of the environment.
        max_share: failures in each environment step, over the run so far, that are borne.
        steps: environment steps.
    """

    name: str
    max_share: float
    failures: int = 0
    steps: int = 0
    cause: str = ""
    """Of the last failure."""
    _told: int = field(default=0, repr=False)

    def add(self, failures: int, cause: str, steps: int) -> None:
        """Count failures, of which the last had that cause, and say how many steps there were so far."""
        self.failures += failures
        self.cause = cause or self.cause
        self.steps = steps

    def note(self, info: Mapping[str, Any], steps: int) -> None:
        """Count and check what a vector environment's ``info`` says, if it says anything."""
        if FAILURE in info:
            causes = [cause for cause in info[FAILURE] if cause]
            self.add(len(causes), causes[-1], steps)
            self.check()

    def take(self) -> tuple[int, str]:
        """Failures since the last call, and the last cause."""
        number, self._told = self.failures - self._told, self.failures
        return number, self.cause

    def reset(self) -> None:
        """Start to count again."""
        self.failures = self._told = 0

    def check(self) -> None:
        """Raise :class:`UserError` if there were more than :data:`TOLERATED`, and a larger share than is borne."""
        if self.failures > TOLERATED and self.failures > self.max_share * self.steps:
            raise UserError(
                f"{self.name} failed {self.failures} times in {self.steps:,} steps, more than a share of "
                f"{self.max_share:g}; last cause: {self.cause}",
                "the last good checkpoint is kept: mend it and --resume, or start anew with a larger max_failure_share",
            )


def not_finite(observations: np.ndarray, rewards: np.ndarray) -> dict[int, str]:
    """Which environments gave what is not finite in float32, and what; observations ``[N, *obs]``, rewards ``[N]``."""
    causes: dict[int, str] = {}
    for name, values in (("the observation", observations), ("the reward", rewards)):
        if values.dtype.kind == "f" and not (finite := _finite(values)).all():
            for n in np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1)):
                overflows = np.isfinite(values[n]).all()
                causes[int(n)] = f"{name} is more than float32 can hold" if overflows else f"{name} is not finite"
    return causes


def _finite(values: np.ndarray) -> np.ndarray:
    """Which numbers are finite in float32, in which rollouts and networks hold them."""
    return np.isfinite(values) if values.itemsize <= 4 else np.abs(values) <= _LARGEST


def _given_up(what: str, first: str, then: str) -> UserError:
    problem = f"{what} failed ({first}) and cannot be made anew ({then})"
    return UserError(problem, "mend it, then continue with --resume")


def close_quietly(env: Any) -> None:
    """Close what has failed, as far as it still can be."""
    with suppress(*RAISED):
        env.close()
